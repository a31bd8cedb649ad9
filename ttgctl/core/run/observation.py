"""Puts ledger, queues, heartbeats and processes together into snapshots; the only place that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from ttg_worker.brokers.base import QueueCounts
from ttg_worker.wire import Heartbeat
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.view import RunView
from ttgctl.core.ports import WorkerStatus
from ttgctl.core.run.rate import Rate
from ttgctl.domain.run import RunSpec
from ttgctl.domain.snapshot import Snapshot, WorkerRow

# A worker that said nothing for so long is shown as silent: it sends a heartbeat every second.
SILENT_SECONDS: Final = 3.0


class Observation:
    """Follows one run and changes nothing. ``now`` is Unix seconds throughout; ``heartbeats`` has the newest
    heartbeat of each worker, with its time by this machine's clock."""

    def __init__(self, spec: RunSpec, ledger: Ledger, heartbeats: Mapping[str, Heartbeat]) -> None:
        self._spec = spec
        self._ledger = ledger
        self._heartbeats = heartbeats
        self._accounted = Rate()
        self._parameters = Rate()
        self._by_worker: dict[str, Rate] = {}
        self._created_at: float | None = None
        self._began: tuple[float, int] | None = None

    @property
    def chunks_per_second(self) -> float:
        return self._accounted.per_second()

    def elapsed_seconds(self, now: float) -> float:
        """Since the first delivery; 0 before it."""
        first = self._ledger.first_delivery_at
        return 0.0 if first is None else max(0.0, now - first)

    def counts(self, queues: QueueCounts) -> QueueCounts:
        """The broker's counts, with the ledger's figures where the broker has none."""
        ledger = self._ledger
        dead = queues.dead if queues.dead is not None else ledger.totals.open_dead_letters
        results = queues.results if queues.results is not None else ledger.totals.messages
        in_flight = queues.in_flight
        if in_flight is None:
            in_flight = max(0, ledger.acknowledged - ledger.accounted - queues.tasks - queues.retry)
        return replace(queues, in_flight=in_flight, dead=dead, results=results)

    def view(self, *, now: float, workers: Sequence[WorkerStatus], broker_answers: bool) -> RunView:
        """The moment as the fault injector may know it."""
        ledger = self._ledger
        return RunView(
            fraction=ledger.accounted / self._spec.chunks_total,
            elapsed_seconds=self.elapsed_seconds(now),
            first_delivery_at=ledger.first_delivery_at,
            now=now,
            chunks_per_second=self.chunks_per_second,
            heartbeats=self._heartbeats,
            workers=workers,
            has_result=ledger.has_result,
            broker_answers=broker_answers,
        )

    def snapshot(
        self,
        *,
        now: float,
        queues: QueueCounts,
        broker_state: str,
        workers: Sequence[WorkerStatus],
        workers_age_seconds: float = 0.0,
    ) -> Snapshot:
        spec, ledger, totals = self._spec, self._ledger, self._ledger.totals
        accounted = ledger.accounted
        if self._created_at is None:
            self._created_at = now
        self._accounted.add(now, accounted)
        self._parameters.add(now, totals.parameters_ok)
        rate = self._accounted.per_second()
        return Snapshot(
            run_id=spec.run_id,
            backend=spec.backend,
            substrate=spec.substrate,
            elapsed_seconds=round(self.elapsed_seconds(now), 3),
            parameters_total=spec.parameters_total,
            parameters_done=totals.parameters_ok,
            chunks_total=spec.chunks_total,
            published=ledger.acknowledged,
            accounted=accounted,
            dead_lettered=len(ledger.dead),
            retried=totals.retried,
            redelivered=totals.redelivered,
            duplicated=totals.duplicated,
            conflicting=totals.conflicting,
            chunks_per_second=round(rate, 2),
            parameters_per_second=round(self._parameters.per_second(), 2),
            eta_seconds=self._eta_seconds(now, accounted),
            queues=self.counts(queues),
            broker_state=broker_state,
            workers=tuple(self._row(status, now) for status in workers),
            workers_age_seconds=round(workers_age_seconds, 1),
        )

    def _eta_seconds(self, now: float, accounted: int) -> float | None:
        """From all that this command saw done: in a few seconds of long chunks nothing may end."""
        first = self._ledger.first_delivery_at
        if first is None:
            return None
        if self._began is None:
            self._began = (max(first, self._created_at or now), accounted)
        began_at, before = self._began
        if accounted <= before or now <= began_at:
            return None
        return round((self._spec.chunks_total - accounted) * (now - began_at) / (accounted - before), 1)

    def _row(self, status: WorkerStatus, now: float) -> WorkerRow:
        heartbeat = self._heartbeats.get(status.worker_id)
        if heartbeat is None:
            return WorkerRow(
                worker_id=status.worker_id,
                state="starting" if status.running or status.awaited else "ended",
                chunk_id=None,
                done=0,
                failed=0,
                chunks_per_second=0.0,
                last_seen_seconds=None,
                node=status.node,
            )
        rate = self._by_worker.setdefault(status.worker_id, Rate())
        rate.add(heartbeat.at, heartbeat.done)
        ago = max(0.0, now - heartbeat.at)
        state = heartbeat.state if ago < SILENT_SECONDS else "silent"
        return WorkerRow(
            worker_id=status.worker_id,
            state=state if status.running else "ended",
            chunk_id=heartbeat.chunk_id,
            done=heartbeat.done,
            failed=heartbeat.failed,
            chunks_per_second=round(rate.per_second(), 2),
            last_seen_seconds=round(ago, 2),
            node=status.node,
        )
