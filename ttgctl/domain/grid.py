"""The parameter grid: axes that are crossed, of which a seeded sample may be drawn.

As YAML, and the only form that is accepted::

    parameters:
      strike: [90, 100, 110]            # a list: each of its items
      rate: {linspace: [0.0, 0.1, 11]}  # start, stop, count; both ends included
      sigma: {logspace: [-2, 0, 5]}     # 10**-2 to 10**0: start and stop are exponents
      path: {range: [0, 1000, 10]}      # stop, or start, stop, or these and a step; without its stop
      model: heston                     # anything else: the same at every point
    sample: 100                         # optional: as many distinct points, drawn at random
    seed: 7                             # optional: of the draw, 0 by default
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

POINTS_MOST: Final = 10**9
# The numbers of the points drawn are kept, and drawing takes ten times their room for a moment.
SAMPLE_MOST: Final = 10**6
_INTEGER_MOST: Final = 2**63


class GridError(ValueError):
    """A grid that can't be read as one; names the axis, its value and what is accepted."""


class ParameterGrid:
    """The points of a grid, computed when asked for: millions of them take no memory.

    A point is a dict with a value for each axis, in the axes' order. Points are in the order of
    nested loops, the last axis being the innermost; so are those of a sample.
    """

    def __init__(
        self, axes: Mapping[str, Sequence[Any]], *, sample: int | None = None, seed: int = 0
    ) -> None:
        """Raises :class:`GridError` for no axis, an empty one, and more points than can be."""
        if not axes:
            raise GridError("parameters: expected at least one, as in  strike: [90, 100, 110]")
        for name, axis in axes.items():
            if not axis:
                raise GridError(f"parameters.{name} has no values, so there is no point to compute")
        self.axes = dict(axes)
        crossed = math.prod(map(len, axes.values()))
        self._drawn = None if sample is None else _draw(crossed, sample, seed=seed)
        if self._drawn is None and crossed > POINTS_MOST:
            raise GridError(
                f"the grid has {crossed:,} points, {POINTS_MOST:,} can be at the most; take fewer "
                "values, or draw some of the points with  sample: 1000"
            )
        self._crossed = crossed

    def __len__(self) -> int:
        return self._crossed if self._drawn is None else len(self._drawn)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self.point, range(len(self)))

    def point(self, index: int) -> dict[str, Any]:
        """Raises :class:`IndexError` for an index below 0 or not below the number of points."""
        if not 0 <= index < len(self):
            raise IndexError(f"point {index} of {len(self)}")
        if self._drawn is not None:
            index = self._drawn[index]
        point = dict.fromkeys(self.axes)
        for name, axis in reversed(self.axes.items()):
            index, position = divmod(index, len(axis))
            point[name] = axis[position]
        return point


def read_grid(document: object) -> ParameterGrid:
    """The grid that a YAML document, already parsed, describes.

    Raises :class:`GridError` for anything that is not of the form in this module's docstring.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("parameters"), Mapping):
        raise GridError("expected 'parameters:' with a name and values on each line below it")
    for key in document:
        if key not in ("parameters", "sample", "seed"):
            raise GridError(
                f"{_shown(key)}: expected nothing but parameters, sample and seed at the top level"
            )
    axes = {}
    for name, values in document["parameters"].items():
        if not isinstance(name, str) or not name:
            raise GridError(f"parameters: {_shown(name)} is not a name; put it in quotes")
        axes[name] = _read_axis(f"parameters.{name}", values)
    if "sample" not in document:
        if "seed" in document:
            raise GridError("seed: expected together with  sample: COUNT  and not alone")
        return ParameterGrid(axes)
    sample = _whole("sample", document["sample"], least=1)
    return ParameterGrid(axes, sample=sample, seed=_whole("seed", document.get("seed", 0), least=0))


def _draw(crossed: int, sample: int, *, seed: int) -> array[int]:
    if not 1 <= sample <= min(crossed, SAMPLE_MOST):
        raise GridError(
            f"sample {sample:,}: expected 1 to {min(crossed, SAMPLE_MOST):,}"
            + (f", as the grid has no more than {crossed:,} points" if crossed <= SAMPLE_MOST else "")
        )
    if crossed >= _INTEGER_MOST:
        raise GridError(f"the grid has {crossed:,} points, too many to draw from; take fewer values")
    return array("Q", sorted(random.Random(seed).sample(range(crossed), sample)))


def _read_axis(place: str, values: object) -> Sequence[Any]:
    if isinstance(values, list):
        for item in values:
            _check_value(place, item)
        return values
    if not isinstance(values, Mapping):
        _check_value(place, values)
        return (values,)
    form = next(iter(values), None)
    read = _FORMS.get(form) if isinstance(form, str) and len(values) == 1 else None
    if read is None:
        raise GridError(
            f"{place}: {_shown(values)}: expected a list, one value, {{range: …}}, {{linspace: …}} "
            "or {logspace: …}"
        )
    return read(f"{place}.{form}", values[form])


def _read_range(place: str, given: object) -> range:
    if not isinstance(given, list) or not 1 <= len(given) <= 3:
        raise GridError(f"{place}: {_shown(given)}: expected [stop], [start, stop] or [start, stop, step]")
    for number in given:
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= _INTEGER_MOST:
            raise GridError(
                f"{place}: {_shown(number)}: expected whole numbers; linspace is for those with a fraction"
            )
    if len(given) == 3 and given[2] == 0:
        raise GridError(f"{place}: {_shown(given)}: expected a step other than 0")
    steps = range(*given)
    _check_count(place, -((steps.start - steps.stop) // steps.step))
    return steps


def _read_linspace(place: str, given: object) -> _Linspace:
    if not isinstance(given, list) or len(given) != 3:
        raise GridError(f"{place}: {_shown(given)}: expected [start, stop, count]")
    for number in given[:2]:
        _check_value(place, number)
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            raise GridError(f"{place}: {_shown(number)}: expected a number")
    count = _whole(f"{place}: count", given[2], least=1)
    axis = _Linspace(float(given[0]), float(given[1]), count)
    if not math.isfinite(axis.stop - axis.start):
        raise GridError(f"{place}: {_shown(given)}: start and stop are too far apart")
    _check_count(place, count)
    return axis


def _read_logspace(place: str, given: object) -> _Logspace:
    exponents = _read_linspace(place, given)
    if not all(-300 <= exponent <= 300 for exponent in (exponents.start, exponents.stop)):
        raise GridError(f"{place}: {_shown(given)}: start and stop are exponents of 10; expected -300 to 300")
    return _Logspace(exponents.start, exponents.stop, len(exponents))


_FORMS: Final[dict[str, Callable[[str, object], Sequence[Any]]]] = {
    "range": _read_range,
    "linspace": _read_linspace,
    "logspace": _read_logspace,
}


class _Linspace(Sequence[float]):
    """Evenly spaced, both ends exact; bit for bit what numpy.linspace gives."""

    def __init__(self, start: float, stop: float, count: int) -> None:
        self.start, self.stop, self._count = start, stop, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        if index == self._count - 1 > 0:
            return self.stop
        return self.start + index * ((self.stop - self.start) / max(1, self._count - 1))


class _Logspace(_Linspace):
    def __getitem__(self, index: Any) -> Any:
        return 10.0 ** super().__getitem__(index)


def _check_count(place: str, count: int) -> None:
    if count > POINTS_MOST:
        raise GridError(f"{place} has {count:,} values, {POINTS_MOST:,} can be at the most")


def _whole(place: str, value: object, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _INTEGER_MOST:
        raise GridError(f"{place}: {_shown(value)}: expected a whole number of {least} or more")
    return value


def _check_value(place: str, value: object) -> None:
    """Values travel as JSON, which knows no dates, NaN, or keys that are no text."""
    if isinstance(value, list):
        for item in value:
            _check_value(place, item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise GridError(f"{place}: the key {_shown(key)} is not a text; put it in quotes")
            _check_value(place, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise GridError(f"{place}: {value}: expected a finite number")
    elif isinstance(value, int) and abs(value) >= _INTEGER_MOST:
        raise GridError(f"{place}: {_shown(value)}: expected a whole number of 64 bits at the most")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise GridError(f"{place}: {_shown(value)}: expected a number, text, true, false or null")


def _shown(value: object) -> str:
    """The value for a message, with an end even where it is long."""
    if isinstance(value, int) and abs(value) >= _INTEGER_MOST:
        return hex(value)[:20] + "…"  # Longer ones can't be written in decimal at all.
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else text[:57] + "…"
