"""A run as its folder tells it afterwards: what reports and comparisons are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ttgctl.core.records.event_log import read_events
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Phase, Progress, RunEvent, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.snapshot import Snapshot
from ttgctl.domain.verdict import FaultRecord, Verdict


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run so far. ``started_at`` and ``ended_at`` in Unix seconds, all else from the first delivery.

    ``progress`` has ``(seconds, chunks accounted for)`` wherever that changed. ``commands``
    counts who carried the run on: 1, and one more for each time it was resumed.
    ``chunks_by_worker`` counts each worker's accepted results. ``verdict`` is None for a run
    that has none yet, ``interrupted`` says why it stopped.
    """

    spec: RunSpec
    started_at: float
    ended_at: float
    commands: int
    phases: tuple[Phase, ...]
    progress: tuple[tuple[float, int], ...]
    last: Snapshot | None
    chunks_by_worker: dict[str, int]
    faults: tuple[FaultRecord, ...]
    notices: tuple[tuple[float, Notice], ...]
    verdict: Verdict | None
    interrupted: str | None

    @property
    def faulted(self) -> bool:
        """Whether anything was meant to disturb it."""
        return bool(self.spec.faults or self.faults)


def read_record(folder: RunFolder) -> RunRecord:
    """Reads ``run.json``, ``events.ndjson`` and, for who did what, the ledger; changes none of them.

    Raises :class:`~ttgctl.core.records.event_log.BadEvent` for a broken events file.
    """
    spec = folder.read_spec()
    started_at = ended_at = spec.created_at
    commands = 0
    first_delivery_at: float | None = None
    phases: dict[str, Phase] = {}
    progress: list[tuple[float, int]] = []
    faults: list[Fault] = []
    notices: list[Notice] = []
    last: Snapshot | None = None
    verdict: Verdict | None = None
    interrupted: str | None = None
    for event in read_events(folder.events):
        ended_at = event.at
        match event:
            case Started():
                started_at = event.at if commands == 0 else started_at
                commands += 1
                verdict = interrupted = None
            case Phase(seconds=float() | int()):
                phases[event.name] = event
            case Phase():
                pass
            case Notice():
                notices.append(event)
            case Progress(snapshot=snapshot):
                last = snapshot
                if snapshot.elapsed_seconds > 0:
                    first_delivery_at = event.at - snapshot.elapsed_seconds
                if not progress or progress[-1][1] != snapshot.accounted:
                    progress.append((snapshot.elapsed_seconds, snapshot.accounted))
            case Fault():
                faults.append(event)
            case Finished():
                verdict = event.verdict
            case Interrupted():
                interrupted = event.reason
    zero = started_at if first_delivery_at is None else first_delivery_at
    return RunRecord(
        spec=spec,
        started_at=started_at,
        ended_at=ended_at,
        commands=commands,
        phases=tuple(phases.values()),
        progress=tuple(progress),
        last=last,
        chunks_by_worker=_chunks_by_worker(folder.ledger),
        faults=faults_of(faults) if verdict is None else verdict.faults,
        notices=tuple((notice.at - zero, notice) for notice in notices),
        verdict=verdict,
        interrupted=interrupted,
    )


def _chunks_by_worker(ledger: Path) -> dict[str, int]:
    # Not through the Ledger, which holds a byte a chunk and may write.
    if not ledger.is_file():
        return {}
    with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as db:
        query = "SELECT worker_id, count(*) FROM results GROUP BY worker_id ORDER BY worker_id"
        return dict(db.execute(query).fetchall())


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """``faults`` must not be injected twice."""

    faults: tuple[FaultRecord, ...] = ()


def faults_of(events: Iterable[RunEvent]) -> tuple[FaultRecord, ...]:
    """The newest record of every fault among the events."""
    newest = {event.record.fault_id: event.record for event in events if isinstance(event, Fault)}
    return tuple(newest[fault_id] for fault_id in sorted(newest))
