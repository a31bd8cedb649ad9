"""How fast workers drained a broker of chunks of no work."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DrainRate:
    """``rates`` are in chunks per second, one a measurement."""

    backend: str
    workers: int
    chunks: int
    rates: tuple[float, ...]

    @property
    def chunks_per_second(self) -> float:
        """The median."""
        return statistics.median(self.rates)
