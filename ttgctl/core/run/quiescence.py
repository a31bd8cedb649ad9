"""When a run may take what is missing for lost: once nothing of it can still come."""

from __future__ import annotations

from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.ports import Clock
from ttgctl.core.run.observation import Observation
from ttgctl.core.run.queue_watch import QueueWatch
from ttgctl.core.run.worker_supervisor import WorkerSupervisor
from ttgctl.domain.run import RunSpec

# Queues are empty, nobody holds anything, and chunks are missing: after so long they are lost.
SETTLE_SECONDS = 3.0
FRESH_SECONDS = 3.0


class Quiescence:
    """Made when all chunks are published, since patience with what is missing begins there."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        ledger: Ledger,
        watch: QueueWatch,
        observation: Observation,
        injector: FaultInjector,
        clock: Clock,
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._watch = watch
        self._observation = observation
        self._injector = injector
        self._clock = clock
        self._read_so_far = self._positions
        self._quiet_since = clock.monotonic()

    def over(self, worker_supervisor: WorkerSupervisor) -> bool:
        """Whether nothing that is missing can still come.

        To be asked again and again: what it sees is taken to have lasted since it was asked last.
        """
        running = {w.worker_id for w in worker_supervisor.workers if w.running}
        now = self._clock.time()
        heartbeats = [b for b in self._observation.heartbeats.values() if b.worker_id in running]
        fresh = [b for b in heartbeats if now - b.at < FRESH_SECONDS]
        if self._spec.has_queue:
            waits_for_worker = not fresh or not self._watch.counts.drained
        else:
            # Nobody comes for the share of one that is gone; but each has one that it may not have begun.
            waits_for_worker = worker_supervisor.awaited
        broker_away = self._watch.error is not None
        in_hand = any(b.held for b in fresh)
        if self._news() or waits_for_worker or broker_away or in_hand or self._injector.unsettled:
            self._quiet_since = self._clock.monotonic()
            return False
        silent = len(fresh) < len(running)
        return self._clock.monotonic() - self._quiet_since > self._patience_seconds(silent=silent)

    def _news(self) -> bool:
        before, self._read_so_far = self._read_so_far, self._positions
        return before != self._read_so_far

    @property
    def _positions(self) -> tuple[int, int]:
        return self._ledger.results_position, self._ledger.dead_letters_position

    def _patience_seconds(self, *, silent: bool) -> float:
        lease_seconds = self._spec.delivery.lease_seconds
        patience = SETTLE_SECONDS + (lease_seconds if self._watch.counts.in_flight is None else 0.0)
        # A worker that fell silent may hold chunks for as long as its connection is believed in.
        return patience + (2 * lease_seconds + FRESH_SECONDS if silent else 0.0)
