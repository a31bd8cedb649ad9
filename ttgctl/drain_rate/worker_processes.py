"""Worker processes for the time of one measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ttgctl.drain_rate.rates import BenchmarkError
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.processes import OwnedProcess

POLL_SECONDS: Final = 0.1
STALL_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 5.0


@dataclass
class WorkerProcesses:
    """Starts processes that write to one log each in ``folder``."""

    folder: Path
    started: list[OwnedProcess] = field(default_factory=list)

    def start(self, argv: Sequence[str], *, name: str, environment: Mapping[str, str]) -> None:
        """Secrets go by ``environment``, for everyone may read an argv."""
        log = self.folder / f"{name}.log"
        self.started.append(
            processes.spawn(argv, name=name, run_folder=self.folder, environment=environment, log=log)
        )

    def wait(self, left: Callable[[], int]) -> None:
        """Returns once ``left`` says 0; :class:`BenchmarkError` when a process ends or all stall."""
        seen, seen_at = None, time.monotonic()
        while (now := left()) > 0:
            for process in self.started:
                if not processes.alive(process):
                    raise BenchmarkError(f"{process.name} ended with work left:\n{self._tail(process.name)}")
            if now != seen:
                seen, seen_at = now, time.monotonic()
            elif time.monotonic() - seen_at > STALL_SECONDS:
                names = ", ".join(process.name for process in self.started)
                raise BenchmarkError(
                    f"{names}: no progress in {STALL_SECONDS:.0f} s with {now} chunks left; the last lines:\n"
                    + self._tail(self.started[0].name)
                )
            time.sleep(POLL_SECONDS)

    def _tail(self, name: str) -> str:
        lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


@contextmanager
def worker_processes(folder: Path) -> Iterator[WorkerProcesses]:
    """None is left at the end, whatever they started themselves included."""
    try:
        yield WorkerProcesses(folder)
    finally:
        processes.end(processes.find(folder), grace_seconds=GRACE_SECONDS)
