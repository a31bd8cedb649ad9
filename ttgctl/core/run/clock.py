"""The machine's own time, and what is due by it now and again."""

from __future__ import annotations

import time

from ttgctl.core.ports import Clock


class SystemClock:
    """:class:`~ttgctl.core.ports.Clock` over the ``time`` module."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Every:
    """Something that is due at once, and from then on ``seconds`` after it was last due."""

    def __init__(self, seconds: float, *, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = float("-inf")

    def due(self) -> bool:
        now = self._clock.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
