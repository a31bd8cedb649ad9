"""What faults do to processes of this machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil

from ttgctl.core.ports import KillEvidence, SubstrateError
from ttgctl.substrates import processes
from ttgctl.substrates.processes import OwnedProcess

# The kernel stops a process as soon as it next runs, at once in all but an overloaded machine.
STOP_SECONDS = 1.0


def signalled(process: OwnedProcess, number: signal.Signals) -> KillEvidence:
    """Sends SIGKILL or SIGSTOP to this very process, and for SIGSTOP sees that it stands."""
    if not processes.send(process, number):
        raise SubstrateError(f"{process.name} ({process.uid}) is gone already")
    at = time.time()
    effect = "stopped" if number == signal.SIGSTOP and _stands(process) else None
    return KillEvidence(victim=process.name, uid=process.uid, at=at, method=number.name, effect=effect)


def _stands(process: OwnedProcess) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            if psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
                return True
        except psutil.NoSuchProcess:
            return False
        time.sleep(0.005)
    return False


def broker_process(run_folder: Path, name: str) -> OwnedProcess | None:
    """The broker's first process; helpers that it started itself are younger."""
    return min(_named(run_folder, name), key=lambda process: process.created_at, default=None)


def kill_broker(run_folder: Path, name: str) -> KillEvidence:
    """SIGKILL to the broker and then to its helpers; what it had on disk stays."""
    owned = sorted(_named(run_folder, name), key=lambda process: process.created_at)
    if not owned:
        raise SubstrateError("the broker is gone already")
    evidence = signalled(owned[0], signal.SIGKILL)
    for helper in owned[1:]:
        processes.send(helper, signal.SIGKILL)
    return evidence


def _named(run_folder: Path, name: str) -> list[OwnedProcess]:
    return [process for process in processes.find(run_folder) if process.name == name]
