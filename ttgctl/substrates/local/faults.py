"""What faults do to processes of this machine."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Final

import psutil

from ttgctl.core.ports import Evidence, SubstrateError
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.processes import OwnedProcess
from ttgctl.substrates.polling import until

# The kernel acts as soon as the process next runs, at once in all but an overloaded machine.
SIGNAL_SECONDS: Final = 1.0
_EFFECTS: Final = {signal.SIGKILL: "process gone", signal.SIGSTOP: "stopped"}


def signalled(process: OwnedProcess, number: signal.Signals) -> Evidence:
    """Sends SIGKILL or SIGSTOP to this very process, and sees that it is gone or stands."""
    if not processes.send(process, number):
        raise SubstrateError(f"{process.name} ({process.uid}) is gone already")
    at = time.time()
    stands = number == signal.SIGSTOP
    seen = until(
        lambda: _stands(process) if stands else not processes.alive(process),
        seconds=SIGNAL_SECONDS,
        every_seconds=0.005,
    )
    effect = _EFFECTS[number] if seen else None
    return Evidence(victim=process.name, uid=process.uid, at=at, method=number.name, effect=effect)


def _stands(process: OwnedProcess) -> bool:
    try:
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def broker_process(run_folder: Path, name: str) -> OwnedProcess | None:
    """The broker's first process; helpers that it started itself are younger."""
    return min(_named(run_folder, name), key=lambda process: process.created_at, default=None)


def kill_broker(run_folder: Path, name: str) -> Evidence:
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
