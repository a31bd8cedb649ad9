"""Points that are drawn: by chance, each by the seed and its number alone, or spread evenly."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ttgctl.domain.grid.errors import GridError
from ttgctl.domain.grid.points import Points, Selection

# The numbers of the points drawn are kept, and drawing takes ten times their room for a moment.
SAMPLE_MOST: Final = 10**6
# Of so many draws for each point that is wanted one at least must satisfy the condition.
DRAWS_EACH: Final = 100
METHODS: Final = ("random", "lhs", "sobol")


class Drawable(Protocol):
    """What a point is drawn from: ``shares``, from 0 up to but not 1, say where on each of its dimensions."""

    @property
    def dimensions(self) -> int: ...

    def drawn(self, shares: Sequence[float]) -> dict[str, Any]: ...


class RandomPoints(Points):
    """Points of which each is drawn by the seed and its number alone."""

    def __init__(self, source: Drawable, numbers: Sequence[int], seed: int) -> None:
        self._source = source
        self._numbers = numbers
        self._seed = seed

    @property
    def count(self) -> int:
        return len(self._numbers)

    def _point(self, index: int) -> dict[str, Any]:
        draw = random.Random(f"{self._seed}/{self._numbers[index]}").random
        return self._source.drawn([draw() for _ in range(self._source.dimensions)])


class SpreadPoints(Points):
    """Points at shares that were spread evenly beforehand."""

    def __init__(self, source: Drawable, shares: array[float]) -> None:
        self._source = source
        self._shares = shares

    @property
    def count(self) -> int:
        return len(self._shares) // self._source.dimensions

    def _point(self, index: int) -> dict[str, Any]:
        first = index * self._source.dimensions
        return self._source.drawn(self._shares[first : first + self._source.dimensions])


def draw(
    source: Drawable, holds: Callable[[dict[str, Any]], bool] | None, *, sample: int, method: str, seed: int
) -> Points:
    """``sample`` points; where they are spread evenly those of them for which the condition ``holds``, where
    they are random as many as were asked for. Raises :class:`GridError`."""
    if sample > SAMPLE_MOST:
        raise GridError(f"sample {sample:,}: expected 1 to {SAMPLE_MOST:,}")
    if method != "random":
        points: Points = SpreadPoints(source, _spread(method, sample, source.dimensions, seed))
        if holds is None:
            return points
        return Selection(points, array("Q", (i for i, point in enumerate(points) if holds(point))))
    if holds is None:
        return RandomPoints(source, range(sample), seed)
    numbers = array("Q")
    for number, point in enumerate(RandomPoints(source, range(sample * DRAWS_EACH), seed)):
        if holds(point):
            numbers.append(number)
        if len(numbers) == sample:
            return RandomPoints(source, numbers, seed)
    raise GridError(f"where: true of {len(numbers):,} of {sample * DRAWS_EACH:,} draws; sample fewer points")


def _spread(method: str, sample: int, dimensions: int, seed: int) -> array[float]:
    try:
        from scipy.stats import qmc
    except ImportError:
        raise GridError(
            f"method: {method} needs scipy: pip install 'ttgctl[sampling]', or leave the method out"
        ) from None
    engine = qmc.LatinHypercube if method == "lhs" else qmc.Sobol
    # Drawn in whole powers of two it is balanced, and any beginning of it is as good as can be.
    count = 1 << (sample - 1).bit_length() if method == "sobol" else sample
    shares = engine(d=dimensions, seed=seed).random(count)[:sample]
    return array("d", shares.ravel().tolist())
