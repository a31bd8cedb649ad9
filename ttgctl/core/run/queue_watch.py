"""Asks the broker for its counts from a thread, so that a broker that hangs stops nobody else."""

from __future__ import annotations

import threading
import time
from typing import Final, Literal

from ttg_worker.brokers.base import Broker, QueueCounts
from ttg_worker.errors import BrokerError, BrokerFull, QueuesGone
from ttgctl.core.ports import Clock

EVERY_SECONDS: Final = 0.2
TROUBLE_SECONDS: Final = 1.0
# So long at most counts are waited for that have caught up with the last ack.
LAST_COUNTS_SECONDS: Final = 5.0
# A broker that comes back may not know them for a moment.
GONE_TIMES: Final = 3


class QueueWatch:
    """``counts`` are the newest; ``error`` is why there are no newer ones, None while there are; ``trouble``
    is why the broker, which is there, takes no messages in.

    ``failure`` is what ended it for good. ``asked`` counts the questions, ``answered`` is the
    number of the one that ``counts`` answer: counts asked for before something happened tell nothing of it.
    """

    def __init__(self, broker: Broker, run_id: str) -> None:
        self._broker = broker
        self._run_id = run_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-watch", daemon=True)
        self.counts = QueueCounts(tasks=0, in_flight=None, retry=0, dead=None, results=None)
        self.error: str | None = None
        self.trouble: str | None = None
        self.failure: Exception | None = None
        self.asked = 0
        self.answered = 0

    @property
    def state(self) -> Literal["ok", "full", "unreachable"]:
        if self.error is not None:
            return "unreachable"
        return "ok" if self.trouble is None else "full"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def last_counts(self, *, drained: bool, clock: Clock) -> QueueCounts:
        """Counts younger than this call, and where queues will be ``drained`` those that show it, if
        they come in time: RabbitMQ's lag behind the last acks by moments."""
        deadline = clock.monotonic() + LAST_COUNTS_SECONDS
        asked_before = self.asked
        while clock.monotonic() < deadline:
            if self.answered > asked_before and (self.counts.drained or not drained):
                break
            clock.sleep(EVERY_SECONDS / 4)
        return self.counts

    def _run(self) -> None:
        try:
            self._watch()
        # The thread's owner must hear of it, whatever it is: it is raised there.
        except Exception as error:
            self.failure = error

    def _watch(self) -> None:
        gone = 0
        ask_at = 0.0
        while not self._stop.is_set():
            try:
                self.asked += 1
                self.counts = self._broker.counts(self._run_id)
                self.error = None
                self.answered = self.asked
                gone = 0
                if time.monotonic() >= ask_at:
                    self.trouble = self._broker.trouble(self._run_id)
                    ask_at = time.monotonic() + TROUBLE_SECONDS
            except QueuesGone as error:
                self.error = str(error)
                gone += 1
                if gone == GONE_TIMES:
                    raise
            except BrokerFull as error:
                # Some do not even tell their counts then.
                self.error, self.trouble, ask_at = None, str(error), 0.0
            except BrokerError as error:
                self.error = str(error)
            self._stop.wait(EVERY_SECONDS)
