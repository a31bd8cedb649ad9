"""Processes of runs are found by their mark, signalled by their identity, and none else."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace

import pytest

from ttgctl.substrates.local import processes

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "ttgctl" / "runs"


@pytest.fixture
def spawn(runs, until):
    started = []

    def spawn(argv=SLEEP, *, name="worker-1", run="r", **environment):
        log = runs / run / "logs" / f"{name}.log"
        process = processes.spawn(argv, name=name, run_folder=runs / run, environment=environment, log=log)
        started.append(process)
        until(lambda: "up" in log.read_text(), within_seconds=20)
        return process

    yield spawn
    for process in started:
        processes.send(process, signal.SIGKILL)


def test_are_found_by_run_and_by_state_directory(spawn, runs, monkeypatch, tmp_path):
    first, second = spawn(run="one"), spawn(run="two", name="broker")
    assert processes.find(runs / "one") == [first]
    assert {process.uid for process in processes.find()} == {first.uid, second.uid}
    assert {process.name for process in processes.find()} == {"worker-1", "broker"}
    # Those of another state directory are not ours to see.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert processes.find() == []


def test_what_they_start_is_found_with_them(spawn, runs, until):
    parent = [sys.executable, "-c", f"import subprocess; subprocess.run({SLEEP!r})"]
    process = spawn(parent)
    until(lambda: len(processes.find(runs / "r")) == 2)
    processes.end(processes.find(runs / "r"), grace_seconds=5)
    assert processes.find(runs / "r") == []
    assert not processes.alive(process)


def test_end_by_sigterm_and_those_that_will_not_by_sigkill(spawn):
    polite, stubborn = spawn(), spawn(STUBBORN, name="worker-2")
    processes.end([polite, stubborn], grace_seconds=0.5)
    assert processes.exit_code(polite) == -signal.SIGTERM
    assert processes.exit_code(stubborn) == -signal.SIGKILL
    processes.end([polite, stubborn], grace_seconds=0.5)


def test_another_process_of_the_same_pid_is_left_alone(spawn):
    process = spawn()
    # As if the pid had been given to another since: the time of its start tells.
    older = replace(process, created_at=process.created_at - 100)
    assert not processes.alive(older)
    assert not processes.send(older, signal.SIGKILL)
    assert processes.alive(process)
    assert older.uid != process.uid


def test_this_process_has_no_mark(runs):
    assert os.getpid() not in {process.pid for process in processes.find()}


def test_settings_reach_them_and_their_output_is_kept(spawn, runs, until):
    argv = [sys.executable, "-c", "import os; print('up', os.environ['COLOUR'])"]
    spawn(argv, COLOUR="green")
    spawn(argv, COLOUR="blue")
    log = runs / "r" / "logs" / "worker-1.log"
    until(lambda: log.read_text() == "up green\nup blue\n", within_seconds=20)
