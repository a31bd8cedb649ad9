"""The parameter grid: axes that are crossed, of which a seeded sample may be drawn.

As YAML, and the only form that is accepted::

    parameters:
      strike: [90, 100, 110]            # a list: each of its items
      rate: {linspace: [0.0, 0.1, 11]}  # start, stop, count; both ends included
      sigma: {logspace: [-2, 0, 5]}     # 10**-2 to 10**0: start and stop are exponents
      path: {range: [0, 1000, 10]}      # stop, or start, stop, or these and a step; without its stop
      model: heston                     # anything else: the same at every point
      zip:                              # these go together: one point for each line of them
        spot: [95, 105]
        name: [low, high]
    where: rate < strike                # optional: only the points of which it is true
    sample: 100                         # optional: as many distinct points, drawn at random
    seed: 7                             # optional: of the draw, 0 by default

``parameters`` may be a list of such blocks, whose points follow each other. With ``sample`` an axis may also
be drawn: ``{uniform: [low, high]}``, ``{loguniform: [low, high]}``, ``{normal: [mean, deviation]}``,
``{choice: […]}``; each point then has a value of its own, and of every other axis one of its values.
``method: lhs|sobol`` spreads the points evenly (needs scipy); ``random`` is what happens without it.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ttgctl.domain.grid.axes import Axis, Distribution, read_axis
from ttgctl.domain.grid.condition import Condition
from ttgctl.domain.grid.draws import METHODS, SAMPLE_MOST, draw
from ttgctl.domain.grid.errors import INTEGER_MOST, GridError, shown, whole
from ttgctl.domain.grid.points import Blocks, Points, Selection

POINTS_MOST: Final = 10**9
# A condition is asked of every point, some hundred thousand a second.
ASKED_MOST: Final = 10**7
_KEYS: Final = ("parameters", "where", "sample", "method", "seed")


class ParameterGrid(Points):
    """The points of a grid, computed when asked for: millions of them take no memory.

    Points are in the order of nested loops, the last axis being the innermost.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        """Raises :class:`GridError` for no axis and a name that is there twice."""
        self._axes = axes
        self.names = [name for axis in axes for name in axis.columns]
        if not self.names:
            raise GridError("parameters: expected at least one, as in  strike: [90, 100, 110]")
        for name in self.names:
            if self.names.count(name) > 1:
                raise GridError(f"parameters.{name} is there twice; rename one")
        self._crossed = math.prod(map(len, axes))

    @property
    def count(self) -> int:
        return self._crossed

    def _point(self, index: int) -> dict[str, Any]:
        positions = []
        for axis in reversed(self._axes):
            index, position = divmod(index, len(axis))
            positions.append(position)
        point: dict[str, Any] = {}
        for axis, position in zip(self._axes, reversed(positions), strict=True):
            axis.put(point, position)
        return point

    def drawn(self, shares: Sequence[float]) -> dict[str, Any]:
        """The point at these shares, from 0 up to but not 1, of its axes."""
        point: dict[str, Any] = {}
        for axis, share in zip(self._axes, shares, strict=True):
            axis.put_drawn(point, share)
        return point

    @property
    def is_drawn(self) -> bool:
        """Whether an axis has no values but those that are drawn."""
        return any(isinstance(axis, Distribution) for axis in self._axes)

    @property
    def dimensions(self) -> int:
        return len(self._axes)


def read_grid(document: object) -> Points:
    """The points that a YAML document, already parsed, describes.

    Raises :class:`GridError` for anything that is not of the form in this module's docstring.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("parameters"), (Mapping, list)):
        raise GridError("expected 'parameters:' with a name and values on each line below it")
    for key in document:
        if key not in _KEYS:
            raise GridError(f"{shown(key)}: expected nothing but {', '.join(_KEYS)} at the top level")
    blocks = list(_read_blocks(document["parameters"]))
    conditions = [Condition(document["where"], block.names) for block in blocks if "where" in document]
    if "sample" not in document:
        for key in ("seed", "method"):
            if key in document:
                raise GridError(f"{key}: expected together with  sample: COUNT  and not alone")
        if any(block.is_drawn for block in blocks):
            raise GridError("an axis that is drawn needs to know how often: add  sample: COUNT")
        return _checked(_all_points(blocks, conditions))
    sample = whole("sample", document["sample"], least=1)
    seed = whole("seed", document.get("seed", 0), least=0)
    method = document.get("method", "random")
    if method not in METHODS:
        raise GridError(f"method: {shown(method)}: expected one of {', '.join(METHODS)}")
    if method == "random" and not any(block.is_drawn for block in blocks):
        return _distinct(_all_points(blocks, conditions), sample, seed=seed)
    if len(blocks) > 1:
        raise GridError("what is drawn is drawn from one block; write one file for each")
    holds = conditions[0].holds if conditions else None
    return _checked(draw(blocks[0], holds, sample=sample, method=method, seed=seed))


def _read_blocks(given: object) -> Iterator[ParameterGrid]:
    if isinstance(given, Mapping):
        yield ParameterGrid(list(_read_axes("parameters", given)))
        return
    assert isinstance(given, list)
    if not given:
        raise GridError("parameters: expected at least one block, such as  - strike: [90, 100, 110]")
    for number, block in enumerate(given, start=1):
        if not isinstance(block, Mapping):
            raise GridError(f"parameters, block {number}: {shown(block)}: expected names with their values")
        yield ParameterGrid(list(_read_axes(f"parameters, block {number}, ", block)))


def _read_axes(place: str, block: Mapping[Any, object]) -> Iterator[Axis]:
    for name, values in block.items():
        if not isinstance(name, str) or not name:
            raise GridError(f"parameters: {shown(name)} is not a name; put it in quotes")
        yield read_axis(f"{place}{'' if place.endswith(' ') else '.'}{name}", name, values)


def _all_points(blocks: Sequence[ParameterGrid], conditions: Sequence[Condition]) -> Points:
    points: list[Points] = list(blocks)
    if conditions:
        points = [_fitting(block, each) for block, each in zip(blocks, conditions, strict=True)]
    return points[0] if len(points) == 1 else Blocks(points)


def _fitting(block: ParameterGrid, condition: Condition) -> Points:
    if block.count > ASKED_MOST:
        raise GridError(
            f"where: the grid has {block.count:,} points, {ASKED_MOST:,} can be asked one by one; take fewer "
            "values"
        )
    chosen = (index for index in range(block.count) if condition.holds(block.point(index)))
    return Selection(block, array("Q", chosen))


def _checked(points: Points) -> Points:
    count = points.count
    if not count:
        raise GridError("where: it is true of no point, so there is nothing to compute")
    if count > POINTS_MOST:
        raise GridError(
            f"the grid has {count:,} points, {POINTS_MOST:,} can be at the most; take fewer "
            "values, or draw some of the points with  sample: 1000"
        )
    return points


def _distinct(points: Points, sample: int, *, seed: int) -> Points:
    count = points.count
    if not count:
        return _checked(points)
    if not 1 <= sample <= min(count, SAMPLE_MOST):
        raise GridError(
            f"sample {sample:,}: expected 1 to {min(count, SAMPLE_MOST):,}"
            + (f", as the grid has no more than {count:,} points" if count <= SAMPLE_MOST else "")
        )
    if count >= INTEGER_MOST:
        raise GridError(f"the grid has {count:,} points, too many to draw from; take fewer values")
    return Selection(points, array("Q", sorted(random.Random(seed).sample(range(count), sample))))
