"""The synthetic workload: values that look random, after a time that is asked for."""

from __future__ import annotations

import time
from typing import Any, Callable  # noqa: UP035 (Python 3.9)

REFERENCE = "ttg_worker.workload:synthetic"
_64_BITS = 2**64 - 1


def synthetic_value(seed: int, index: int) -> int:
    """What the synthetic workload gives for a parameter: 32 bits that look random."""
    mixed = ((index + 1) * 0x9E3779B97F4A7C15 + seed * 0xD1B54A32D192ED03) & _64_BITS
    return ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & _64_BITS) >> 32


def synthetic(*, work_seconds: float, seed: int) -> Callable[[Any], int]:
    """A function of an index that takes ``work_seconds``, as exactly as sleeping allows.

    A wake-up that came late is made up for by the next sleep, so that many calls take no longer together.
    """
    if not work_seconds:
        return lambda index: synthetic_value(seed, index)
    late_seconds = 0.0

    def compute(index: int) -> int:
        nonlocal late_seconds
        now = time.monotonic()
        # More than one call's time is not made up for.
        ready_at = now + work_seconds - min(late_seconds, work_seconds)
        if ready_at > now:
            time.sleep(ready_at - now)
        late_seconds = time.monotonic() - ready_at
        return synthetic_value(seed, index)

    return compute
