"""What the earlier commands on a run left, for the one that goes on with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ttgctl.domain.events import Fault, RunEvent
from ttgctl.domain.verdict import FaultRecord


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """``faults`` must not be injected twice."""

    faults: tuple[FaultRecord, ...] = ()


def faults_of(events: Iterable[RunEvent]) -> tuple[FaultRecord, ...]:
    """The newest record of every fault among the events."""
    newest = {event.record.fault_id: event.record for event in events if isinstance(event, Fault)}
    return tuple(newest[fault_id] for fault_id in sorted(newest))
