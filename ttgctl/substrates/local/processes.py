"""Processes of local runs, found by a mark in their environment.

The kernel keeps the mark for as long as the process lives and hands it on to its children, so a
process can't be lost to a crash between its start and the writing of some record.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ttg_worker.compute_settings import COMPUTE, PROCESS_MARK
from ttgctl.core.records.run_folder import state_folder

RUN_MARK: Final = "TTG_RUN_FOLDER"
NAME_MARK: Final = PROCESS_MARK

# Only a parent can reap, and only once: whoever asks about a child of ours asks its Popen.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class OwnedProcess:
    """A process that ttgctl started; pid and ``created_at`` (Unix seconds) name it for ever."""

    name: str
    run_folder: Path
    pid: int
    created_at: float

    @property
    def compute_of(self) -> str | None:
        """The worker whose compute process this is, or who started it there; None for all others."""
        worker, slash, _ = self.name.partition(COMPUTE)
        return worker if slash else None

    @property
    def uid(self) -> str:
        return f"{self.pid}@{self.created_at:.2f}"


def spawn(
    argv: Sequence[str], *, name: str, run_folder: Path, environment: Mapping[str, str], log: Path
) -> OwnedProcess:
    """Starts a process of its own session, so that Ctrl-C in a terminal does not reach it.

    ``environment`` is added to this process's own; output is appended to ``log``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    marks = {RUN_MARK: str(run_folder), NAME_MARK: name}
    with log.open("ab") as output:
        child = subprocess.Popen(
            argv,
            env={**os.environ, **environment, **marks},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return OwnedProcess(name, run_folder, child.pid, psutil.Process(child.pid).create_time())


def find(run_folder: Path | None = None) -> list[OwnedProcess]:
    """All processes with the mark, of one run or of all runs of this state directory.

    Reads every process of this user; those of another state directory are not ours to see.
    """
    if run_folder is not None:
        return [process for process in _marked() if process.run_folder == run_folder]
    runs = state_folder() / "runs"
    return [process for process in _marked() if process.run_folder.parent == runs]


def find_below(folder: Path) -> list[OwnedProcess]:
    """All processes with the mark whose run's folder is somewhere in this one."""
    return [process for process in _marked() if folder in process.run_folder.parents]


def _marked() -> Iterator[OwnedProcess]:
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if RUN_MARK not in environment or process.status() == psutil.STATUS_ZOMBIE:
                continue
            name, folder = environment.get(NAME_MARK, ""), Path(environment[RUN_MARK])
            yield OwnedProcess(name, folder, process.pid, process.create_time())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def exit_code(process: OwnedProcess) -> int | None:
    """The exit code of a child of ours that ended (negative: its signal), else None."""
    child = _children.get(process.pid)
    return child.poll() if child is not None else None


def alive(process: OwnedProcess) -> bool:
    """Whether this very process still runs."""
    if exit_code(process) is not None:
        return False
    try:
        current = psutil.Process(process.pid)
        same = abs(current.create_time() - process.created_at) < 0.01
        return same and current.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(process: OwnedProcess, number: signal.Signals) -> bool:
    """Signals this very process, never another that got its pid; False when it is gone."""
    if not alive(process):
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def end(owned: Iterable[OwnedProcess], *, grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL for what is left after the grace; none is left when it returns."""
    rest = [process for process in owned if send(process, signal.SIGTERM)]
    rest = _wait(rest, grace_seconds)
    for process in rest:
        send(process, signal.SIGKILL)
    _wait(rest, 10.0)


def _wait(owned: list[OwnedProcess], timeout_seconds: float) -> list[OwnedProcess]:
    deadline = time.monotonic() + timeout_seconds
    while (left := [process for process in owned if alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
