"""Waiting for what a cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], *, seconds: float, every_seconds: float = 0.1) -> bool:
    """Asks until the condition holds; False when it does not by then."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_seconds)
    return True
