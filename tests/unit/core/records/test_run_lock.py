"""One command at a time works on a run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ttgctl.core.records.run_lock import RunIsTaken, is_taken, run_lock


def test_is_held_until_it_is_let_go(tmp_path):
    path = tmp_path / "demo-1" / "lock"
    with run_lock(path):
        assert is_taken(path)
        with pytest.raises(RunIsTaken, match="ttgctl monitor demo-1"), run_lock(path):
            pass
    assert not is_taken(path)


def test_is_let_go_of_when_its_holder_dies(tmp_path):
    path = tmp_path / "demo-1" / "lock"
    code = (
        "import sys, pathlib\nfrom ttgctl.core.records.run_lock import run_lock\n"
        "with run_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert is_taken(path)
        holder.kill()
        holder.wait()
        assert not is_taken(path)


def test_a_run_that_never_was_is_not_taken_and_stays_that_way(tmp_path):
    path = tmp_path / "demo-1" / "lock"
    assert not is_taken(path)
