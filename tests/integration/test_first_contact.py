"""What a newcomer types first, and a terminal, pipe or disk that is not as one would wish."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

QUICK = (
    "demo --backend static --substrate local --parameters-total 40 --chunk-size 2 --work-ms 1 --monitor none"
)


@pytest.fixture
def shell(ttgctl):
    """A line of bash in which ``ttgctl`` is the installed command: its exit code, stdout and stderr."""

    def run(line: str) -> tuple[int, str, str]:
        path = f"{Path(ttgctl.program).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.case("C38")
@pytest.mark.parametrize("line", ["ttgctl", "ttgctl -h", "ttgctl --help", "ttgctl run -h", "ttgctl dlq"])
def test_help_is_there_for_the_asking(shell, line):
    code, out, err = shell(line)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ttgctl")


@pytest.mark.case("C38")
def test_the_version(shell):
    assert shell("ttgctl --version")[:2] == (0, "ttgctl 0.1.0\n")


@pytest.mark.case("C38")
@pytest.mark.parametrize(
    ("word", "said"),
    [("verfiy", "did you mean verify?"), ("reprot", "did you mean report?"), ("xyzzy", "see: ttgctl --help")],
)
def test_a_command_that_there_is_not(shell, word, said):
    assert shell(f"ttgctl {word}") == (2, "", f"error: no command '{word}'; {said}\n")


@pytest.mark.case("C35")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (f"ttgctl {QUICK} -o ndjson | head -2", 130, "the run was stopped and nothing is lost"),
        (f"ttgctl {QUICK} -o ndjson > /dev/full", 130, "the run was stopped and nothing is lost"),
        (f"ttgctl {QUICK} -o json > /dev/full", 3, "see it again with: ttgctl verify"),
        (f"ttgctl {QUICK} -o json >&-", 0, ""),
        (f"ttgctl {QUICK} -o json 2>&-", 0, ""),
        (f"ttgctl {QUICK} --keep -o json > /dev/null; ttgctl cleanup <&-", 130, "interrupted"),
        (f"XDG_STATE_HOME=/proc/x ttgctl {QUICK}", 3, "set XDG_STATE_HOME"),
        ("XDG_STATE_HOME=/proc/x ttgctl runs", 3, "set XDG_STATE_HOME"),
        ("ttgctl runs | true", 0, ""),
    ],
)
def test_streams_and_folders_that_are_not_there_are_no_bugs(shell, line, code, said):
    got, _, err = shell(line)
    assert got == code, err
    assert said in err
    assert "Traceback" not in err
    assert "bug in ttgctl" not in err
