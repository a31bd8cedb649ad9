"""A compute process that is a thread, for tests of what goes on around it."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ttg_worker.brokers.base import Delivery
from ttg_worker.compute.values import ValueRefused, encode
from ttg_worker.job import Job
from ttg_worker.wire import Chunk


class FakeCompute:
    """Does what a :class:`~ttg_worker.compute_supervisor.ComputeSupervisor` does, with a function of a chunk
    that gives all its values; what it raises fails all the chunk's parameters."""

    def __init__(self, function: Callable[[Chunk], Sequence[Any]]) -> None:
        self._function = function
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._finished: list[Job] = []
        self._in_hand: Job | None = None
        self._since = 0.0
        self._closed = False
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def in_flight(self) -> int:
        with self._changed:
            return len(self._waiting) + len(self._finished) + (self._in_hand is not None)

    @property
    def in_hand(self) -> tuple[Job, int] | None:
        job = self._in_hand
        return None if job is None else (job, 0)

    @property
    def seconds_in_hand(self) -> float:
        return 0.0 if self._in_hand is None else time.monotonic() - self._since

    def put(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def finished(self, wait_seconds: float) -> list[Job]:
        with self._changed:
            self._changed.wait_for(lambda: self._finished, timeout=wait_seconds)
            finished, self._finished = self._finished, []
            return finished

    def give_back(self) -> list[Delivery]:
        with self._changed:
            deliveries = [job.delivery for job in self._waiting]
            self._waiting.clear()
            return deliveries

    def abandon(self) -> list[Delivery]:
        deliveries = self.give_back()
        self.close()
        job = self._in_hand
        return [*deliveries, *([] if job is None else [job.delivery])]

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                job = self._waiting.popleft()
                self._in_hand, self._since = job, time.monotonic()
            self._compute(job)
            with self._changed:
                self._in_hand = None
                self._finished.append(job)
                self._changed.notify_all()

    def _compute(self, job: Job) -> None:
        started_at = time.time()
        try:
            values = [encode(value) for value in self._function(job.delivery.chunk)]
            if len(values) != job.size:
                raise ValueRefused(f"{len(values)} values for {job.size} parameters")
        except BaseException as error:
            kind = "value" if isinstance(error, ValueRefused) else type(error).__name__
            job.fail_all(kind, traceback.format_exc().strip())
            return
        for position, value in enumerate(values):
            job.succeeded(position, value, 0.0)
        job.ran(started_at, time.time() - started_at)
