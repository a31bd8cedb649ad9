"""What substrates can do to what runs on them, beside what every substrate can: each power is a protocol
of its own, and a substrate has those that it implements."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ttgctl.core.ports import Evidence, WorkerStatus
from ttgctl.domain.run import RunSpec


@runtime_checkable
class HurtsWorkers(Protocol):
    """Each method that undoes another is fine with what is undone, or gone, already."""

    def kill(self, worker: WorkerStatus) -> Evidence:
        """SIGKILL without grace, only to the very thing that ``worker.uid`` names."""

    def pause(self, worker: WorkerStatus) -> Evidence:
        """Stops the very process that ``worker.uid`` names in its tracks (SIGSTOP)."""

    def resume(self, worker: WorkerStatus) -> None:
        """Undoes :meth:`pause` (SIGCONT)."""

    def isolate(self, worker: WorkerStatus) -> Evidence:
        """Cuts the worker off from the broker, without a word to either of them."""

    def rejoin(self, worker: WorkerStatus) -> str | None:
        """Undoes :meth:`isolate`; what was seen of the cut, if anything was."""


@runtime_checkable
class KillsBrokers(Protocol):
    def kill_broker(self, spec: RunSpec) -> Evidence:
        """SIGKILL to the run's broker, its storage kept; ``start_broker`` undoes it."""


@runtime_checkable
class StopsNodes(Protocol):
    def stop_node(self, node: str) -> Evidence:
        """Stops the machine of that name, on which workers of a run are."""

    def start_node(self, node: str) -> None:
        """Undoes :meth:`stop_node`; returns when the machine works again."""
