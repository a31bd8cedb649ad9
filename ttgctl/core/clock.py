"""The machine's own time."""

from __future__ import annotations

import time


class SystemClock:
    """:class:`~ttgctl.core.ports.Clock` over the ``time`` module."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
