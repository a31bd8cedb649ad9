"""Monte Carlo pi: the share of random points of the unit square that lie in the quarter circle."""

from __future__ import annotations

import math
import random
from typing import Any


def estimate(parameter: dict[str, Any]) -> dict[str, float]:
    """Pi from ``samples`` points drawn with ``seed``, and the standard error of that.

    The error bar is checkable: about 68 % of the estimates are within one standard error of pi,
    about 95 % within two.
    """
    draw = random.Random(parameter["seed"]).random
    samples = parameter["samples"]
    inside = 0
    for _ in range(samples):
        x, y = draw(), draw()
        if x * x + y * y <= 1.0:
            inside += 1
    share = inside / samples
    return {"estimate": 4.0 * share, "standard_error": 4.0 * math.sqrt(share * (1.0 - share) / samples)}
