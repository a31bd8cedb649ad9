"""Follows a log that does not tell of news by itself: it is asked, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from ttg_worker.brokers.base import Recorded

TICK_SECONDS: Final = 0.01
T = TypeVar("T")


def tail(read: Callable[[int], Iterable[tuple[int, T]]], *, after: int) -> Iterator[Recorded[T] | None]:
    """What an :class:`~ttg_worker.brokers.base.Observer` gives of a log.

    ``read`` gives what is in the log after a position, in order, each with its own position.
    """
    while True:
        before = after
        for position, message in read(before):
            after = position
            yield Recorded(position, message)
        if after == before:
            time.sleep(TICK_SECONDS)
            yield None
