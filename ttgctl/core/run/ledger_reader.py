"""What comes from a run's broker, read into its ledger; the only place that does."""

from __future__ import annotations

from typing import Final

from ttg_worker.brokers.base import Observer
from ttg_worker.wire import ChunkResult, Heartbeat
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.ports import Clock
from ttgctl.core.run.worker_clocks import WorkerClocks

# So long at most reading results before the run looks at anything else.
READ_SECONDS: Final = 0.1


class LedgerReader:
    """Reads results and dead letters that the ledger does not have yet, and tells the injector of each.

    ``heartbeats`` has the newest of each worker, with its time by this machine's clock.
    """

    def __init__(self, observer: Observer, *, ledger: Ledger, injector: FaultInjector, clock: Clock) -> None:
        self._observer = observer
        self._results = observer.results(after=ledger.results_position)
        self._letters = observer.dead_letters(after=ledger.dead_letters_position)
        self._ledger = ledger
        self._injector = injector
        self._clock = clock
        self._clocks = WorkerClocks()
        self._heard: dict[str, Heartbeat] = {}
        self.heartbeats: dict[str, Heartbeat] = {}

    def read(self) -> bool:
        """Records what has come; False when there were more results than it had time for."""
        caught_up = self._read_results()
        self._read_letters()
        self._read_heartbeats()
        return caught_up

    def _read_results(self) -> bool:
        # The clock is asked at each result: they may come one by one, and as slowly as may be.
        until = self._clock.monotonic() + READ_SECONDS
        for recorded in self._results:
            if recorded is None:
                return True
            now = self._clock.time()
            if isinstance(recorded.message, ChunkResult):
                result = self._clocks.result(recorded.message, now=now)
                if self._ledger.record_result(recorded) is not None:
                    self._ledger.saw_delivery(result.started_at)
                    self._ledger.saw_result(result.finished_at)
                self._injector.saw_result(result)
            else:
                self._ledger.record_result(recorded)
            if self._clock.monotonic() > until:
                break
        return False

    def _read_letters(self) -> None:
        until = self._clock.monotonic() + READ_SECONDS
        for recorded in self._letters:
            if recorded is None:
                return
            letter = self._ledger.record_dead_letter(recorded)
            if letter is not None:
                self._injector.saw_dead_letter(letter)
            if self._clock.monotonic() > until:
                return

    def _read_heartbeats(self) -> None:
        now = self._clock.time()
        for heartbeat in self._observer.heartbeats():
            if self._heard.get(heartbeat.worker_id) == heartbeat:
                continue
            self._heard[heartbeat.worker_id] = heartbeat
            stamped = self._clocks.heartbeat(heartbeat, now=now)
            self.heartbeats[heartbeat.worker_id] = stamped
            if stamped.chunk_id is not None:
                self._ledger.saw_delivery(stamped.at)
