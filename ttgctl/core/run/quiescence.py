"""Whether a missing chunk is lost: the queues are empty, nobody holds one, every lease has run out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ttg_worker.wire import Heartbeat
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.ports import Clock
from ttgctl.core.run.queue_watch import QueueWatch
from ttgctl.core.run.worker_supervisor import WorkerSupervisor
from ttgctl.domain.run import RunSpec

# Queues are empty, nobody holds anything, and chunks are missing: after so long they are lost.
SETTLE_SECONDS: Final = 3.0
FRESH_SECONDS: Final = 3.0
# So many counts must have been asked for after the last thing that happened: one may tell of before.
COUNTS_LEAST: Final = 2


class Quiescence:
    """Made when all chunks are published, since patience with what is missing begins there.

    ``heartbeats`` are the newest of each worker, with their times by this machine's clock.
    """

    def __init__(
        self,
        spec: RunSpec,
        *,
        ledger: Ledger,
        watch: QueueWatch,
        workers: WorkerSupervisor,
        heartbeats: Mapping[str, Heartbeat],
        injector: FaultInjector,
        clock: Clock,
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._watch = watch
        self._workers = workers
        self._heartbeats = heartbeats
        self._injector = injector
        self._clock = clock
        self._seen = self._happened
        self._be_patient_anew()

    def _be_patient_anew(self) -> None:
        self._quiet_since = self._clock.monotonic()
        self._counts_before = self._watch.asked

    def over(self) -> bool:
        """Whether nothing that is missing can still come.

        To be asked again and again: what it sees is taken to have lasted since it was asked last.
        """
        running = {w.worker_id for w in self._workers.workers if w.running}
        now = self._clock.time()
        fresh = [
            heartbeat
            for heartbeat in self._heartbeats.values()
            if heartbeat.worker_id in running and now - heartbeat.at < FRESH_SECONDS
        ]
        if self._spec.has_queue:
            waits_for_worker = not fresh or not self._watch.counts.drained
        else:
            # Nobody comes for the share of one that is gone; but each has one that it may not have begun.
            waits_for_worker = self._workers.awaited
        # A broker that takes nothing in has results waiting for it, with whoever has them.
        unknown = self._watch.state != "ok" or self._workers.out_of_sight
        in_hand = any(heartbeat.held for heartbeat in fresh)
        if self._news() or waits_for_worker or unknown or in_hand or self._injector.unsettled:
            self._be_patient_anew()
            return False
        if self._watch.answered - self._counts_before < COUNTS_LEAST:
            return False
        silent = len(fresh) < len(running)
        return self._clock.monotonic() - self._quiet_since > self._patience_seconds(silent=silent)

    def _news(self) -> bool:
        before, self._seen = self._seen, self._happened
        return before != self._seen

    @property
    def _happened(self) -> tuple[int, int, frozenset[str]]:
        """What changes with each result, dead letter, death, and replacement. A worker that dies gives its
        chunks back, whatever the queues showed before."""
        alive = frozenset(w.uid for w in self._workers.workers if w.running)
        return self._ledger.results_position, self._ledger.dead_letters_position, alive

    def _patience_seconds(self, *, silent: bool) -> float:
        lease_seconds = self._spec.delivery.lease_seconds
        patience = SETTLE_SECONDS + (lease_seconds if self._watch.counts.in_flight is None else 0.0)
        # A worker that fell silent may hold chunks for as long as its connection is believed in.
        return patience + (2 * lease_seconds + FRESH_SECONDS if silent else 0.0)
