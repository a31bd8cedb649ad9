"""What comes from a run's broker, read into its ledger."""

from __future__ import annotations

from itertools import count

from ttg_worker.brokers.base import Observer
from ttg_worker.wire import ChunkResult
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.ports import Clock

# So long at most reading results before the run looks at anything else.
READ_SECONDS = 0.1
READ_BETWEEN_LOOKS = 500


class LedgerReader:
    """Results and dead letters that the ledger does not have yet; the injector hears of each."""

    def __init__(self, observer: Observer, *, ledger: Ledger, injector: FaultInjector, clock: Clock) -> None:
        self._results = observer.results(after=ledger.results_position)
        self._letters = observer.dead_letters(after=ledger.dead_letters_position)
        self._ledger = ledger
        self._injector = injector
        self._clock = clock

    def read(self) -> bool:
        """Records what has come; False when there were more results than it had time for."""
        caught_up = self._read_results()
        self._read_letters()
        return caught_up

    def _read_results(self) -> bool:
        until = self._clock.monotonic() + READ_SECONDS
        for number in count(1):
            recorded = next(self._results)
            if recorded is None:
                return True
            first = self._ledger.record_result(recorded)
            if first is not None:
                self._ledger.saw_delivery(first.started_at)
            if isinstance(recorded.message, ChunkResult):
                self._injector.saw_result(recorded.message)
            if number % READ_BETWEEN_LOOKS == 0 and self._clock.monotonic() > until:
                break
        return False

    def _read_letters(self) -> None:
        for recorded in self._letters:
            if recorded is None:
                return
            letter = self._ledger.record_dead_letter(recorded)
            if letter is not None:
                self._injector.saw_dead_letter(letter)
