"""The benchmark's folder and processes go with the benchmark, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ttgctl.drain_rate.guarded_folder import guarded_folder
from ttgctl.substrates.local import processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
BENCHMARK = """
import sys, time
from ttgctl.drain_rate.guarded_folder import guarded_folder
from ttgctl.substrates.local import processes
with guarded_folder(prefix="ttgctl-guard-test-") as folder:
    run = folder / "servers" / "redis"
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    processes.spawn(argv, name="broker", run_folder=run, environment={}, log=run / "log")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_all_is_gone_when_it_ends(tmp_path, until):
    with guarded_folder(prefix="ttgctl-guard-test-") as folder:
        run = folder / "run"
        inside = processes.spawn(SLEEP, name="a", run_folder=run, environment={}, log=run / "log")
        other = processes.spawn(
            SLEEP, name="b", run_folder=tmp_path / "run", environment={}, log=tmp_path / "log"
        )
        # The kernel shows a new program's environment a moment after it began.
        until(lambda: processes.find_below(folder) == [inside])
    try:
        assert not folder.exists()
        assert not processes.alive(inside)
        assert processes.alive(other)
    finally:
        processes.end([other], grace_seconds=0.0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_all_is_gone_after_it_was_killed(number, until):
    benchmark = subprocess.Popen(
        [sys.executable, "-c", BENCHMARK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert benchmark.stdout is not None
    folder = Path(benchmark.stdout.readline().strip())
    (broker,) = processes.find_below(folder)
    benchmark.send_signal(number)
    benchmark.wait()
    until(lambda: not folder.exists())
    assert not processes.alive(broker)
    benchmark.stdout.close()
