"""What substrates can do to what runs on them, beside what every substrate can: each power is a protocol
of its own, and a substrate has those that it implements."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from ttgctl.core.ports import Evidence, Substrate, WorkerStatus
from ttgctl.domain.fault_kinds import FaultKindName
from ttgctl.domain.run import RunSpec


@runtime_checkable
class KillsWorkers(Protocol):
    def kill(self, worker: WorkerStatus) -> Evidence:
        """SIGKILL without grace, only to the very thing that ``worker.uid`` names."""


@runtime_checkable
class PausesWorkers(Protocol):
    def pause(self, worker: WorkerStatus) -> Evidence:
        """Stops the very process that ``worker.uid`` names in its tracks (SIGSTOP)."""

    def resume(self, worker: WorkerStatus) -> None:
        """Undoes :meth:`pause` (SIGCONT); fine with a worker that goes on, or is gone, already."""


@runtime_checkable
class CutsOffWorkers(Protocol):
    def isolate(self, worker: WorkerStatus) -> Evidence:
        """Cuts the worker off from the broker, without a word to either of them."""

    def rejoin(self, worker: WorkerStatus) -> str | None:
        """Undoes :meth:`isolate`; what was seen of the cut, if anything was. Fine with one that is undone."""


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


# Restarting a broker takes what every substrate can.
_POWERS: Final[dict[FaultKindName, type]] = {
    "kill-worker": KillsWorkers,
    "stop-worker": PausesWorkers,
    "slow-worker": PausesWorkers,
    "partition": CutsOffWorkers,
    "kill-broker": KillsBrokers,
    "stop-node": StopsNodes,
}


def why_not(substrate: Substrate, kind: FaultKindName) -> str | None:
    """Why faults of this kind can't be injected here, None where they can; takes moments.

    The substrate's own reason, where it has one, says more than that it lacks the power.
    """
    reason = substrate.why_not(kind)
    if reason is None and kind in _POWERS and not isinstance(substrate, _POWERS[kind]):
        return f"{kind}: not on the substrate {substrate.name}"
    return reason
