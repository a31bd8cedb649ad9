"""Points of a sweep by their index, and some or several of them together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any


class Points(ABC):
    """A point is a dict with a value for each name, in the order of the axes; made when asked for."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are, which may be more than ``len`` can tell."""

    @abstractmethod
    def _point(self, index: int) -> dict[str, Any]: ...

    def point(self, index: int) -> dict[str, Any]:
        """Raises :class:`IndexError` for an index below 0 or not below the number of points."""
        if not 0 <= index < self.count:
            raise IndexError(f"point {index} of {self.count}")
        return self._point(index)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._point, range(self.count))


class Blocks(Points):
    """The points of several grids, one after another."""

    def __init__(self, grids: Sequence[Points]) -> None:
        self._grids = grids
        self._ends = list(accumulate(grid.count for grid in grids))

    @property
    def count(self) -> int:
        return self._ends[-1]

    def _point(self, index: int) -> dict[str, Any]:
        number = bisect_right(self._ends, index)
        return self._grids[number].point(index - (self._ends[number - 1] if number else 0))


class Selection(Points):
    """Some of the points, in their order."""

    def __init__(self, points: Points, chosen: array[int]) -> None:
        self._points = points
        self._chosen = chosen

    @property
    def count(self) -> int:
        return len(self._chosen)

    def _point(self, index: int) -> dict[str, Any]:
        return self._points.point(self._chosen[index])
