"""The end of a run before its time, on purpose."""

from __future__ import annotations

from ttg_worker.brokers.base import QueueCounts


class Stopped(Exception):
    """``timed_out`` says that the run's time was over, and not that somebody stopped it; ``counts`` are the
    queues' last ones, None where no queue was open yet."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out
        self.counts: QueueCounts | None = None
