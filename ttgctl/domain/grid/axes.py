"""One axis of a parameter grid: the values that its names have, one after another, or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from ttgctl.domain.grid.errors import INTEGER_MOST, GridError, check_value, shown, whole

VALUES_MOST: Final = 10**9


@dataclass(frozen=True)
class Axis:
    """``columns`` have the values of each name; those of several names go together, so all are as long."""

    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def put(self, point: dict[str, Any], position: int) -> None:
        """Gives the point the values at this position."""
        for name, values in self.columns.items():
            point[name] = values[position]

    def put_drawn(self, point: dict[str, Any], share: float) -> None:
        """Gives the point the values that lie at ``share``, from 0 up to but not 1, of all."""
        self.put(point, min(len(self) - 1, int(share * len(self))))


@dataclass(frozen=True)
class Distribution(Axis):
    """Has no values but those that are drawn: ``quantile`` gives the one below which ``share`` of all lie."""

    quantile: Callable[[float], Any]

    def put_drawn(self, point: dict[str, Any], share: float) -> None:
        for name in self.columns:
            point[name] = self.quantile(share)


def read_axis(place: str, name: str, given: object) -> Axis:
    """An axis of one name, or, where a mapping below ``zip`` has none of the forms, of names that go
    together. Raises :class:`GridError`."""
    form = _form_of(given)
    if name == "zip" and isinstance(given, Mapping) and form is None:
        return _read_zip(place, given)
    if form in _DISTRIBUTIONS:
        assert isinstance(given, Mapping)
        return Distribution({name: ()}, _DISTRIBUTIONS[form](f"{place}.{form}", given[form]))
    values = _read_values(place, given, form)
    if not values:
        raise GridError(f"{place} has no values, so there is no point to compute")
    return Axis({name: values})


def _form_of(given: object) -> str | None:
    """The word of a value such as ``{range: …}``, if it is one."""
    if not isinstance(given, Mapping) or len(given) != 1:
        return None
    form = next(iter(given))
    return form if isinstance(form, str) and (form in _FORMS or form in _DISTRIBUTIONS) else None


def _read_zip(place: str, given: Mapping[Any, object]) -> Axis:
    columns = {}
    for name, values in given.items():
        if not isinstance(name, str) or not name:
            raise GridError(f"{place}: {shown(name)} is not a name; put it in quotes")
        form = _form_of(values)
        if form in _DISTRIBUTIONS:
            raise GridError(f"{place}.{name}: what is drawn goes with nothing; take it out of zip")
        columns[name] = _read_values(f"{place}.{name}", values, form)
    lengths = {name: len(values) for name, values in columns.items()}
    if not columns or not all(lengths.values()):
        raise GridError(f"{place}: expected names with as many values each, below it")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {count:,}" for name, count in lengths.items())
        raise GridError(f"{place}: {told}; what goes together must have as many values")
    return Axis(columns)


def _read_values(place: str, given: object, form: str | None) -> Sequence[Any]:
    if isinstance(given, list):
        for item in given:
            check_value(place, item)
        return given
    if not isinstance(given, Mapping):
        check_value(place, given)
        return (given,)
    if form is None:
        forms = ", ".join(f"{{{word}: …}}" for word in (*_FORMS, *_DISTRIBUTIONS))
        raise GridError(f"{place}: {shown(given)}: expected a list, one value, {forms}")
    return _FORMS[form](f"{place}.{form}", given[form])


def _read_range(place: str, given: object) -> range:
    if not isinstance(given, list) or not 1 <= len(given) <= 3:
        raise GridError(f"{place}: {shown(given)}: expected [stop], [start, stop] or [start, stop, step]")
    for number in given:
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= INTEGER_MOST:
            raise GridError(
                f"{place}: {shown(number)}: expected whole numbers; linspace is for those with a fraction"
            )
    if len(given) == 3 and given[2] == 0:
        raise GridError(f"{place}: {shown(given)}: expected a step other than 0")
    steps = range(*given)
    _check_count(place, -((steps.start - steps.stop) // steps.step))
    return steps


def _read_linspace(place: str, given: object) -> _Linspace:
    if not isinstance(given, list) or len(given) != 3:
        raise GridError(f"{place}: {shown(given)}: expected [start, stop, count]")
    start, stop = (_number(place, number) for number in given[:2])
    count = whole(f"{place}: count", given[2], least=1)
    axis = _Linspace(start, stop, count)
    if not math.isfinite(axis.stop - axis.start):
        raise GridError(f"{place}: {shown(given)}: start and stop are too far apart")
    _check_count(place, count)
    return axis


def _read_logspace(place: str, given: object) -> _Logspace:
    exponents = _read_linspace(place, given)
    if not all(-300 <= exponent <= 300 for exponent in (exponents.start, exponents.stop)):
        raise GridError(f"{place}: {shown(given)}: start and stop are exponents of 10; expected -300 to 300")
    return _Logspace(exponents.start, exponents.stop, len(exponents))


_FORMS: Final[dict[str, Callable[[str, object], Sequence[Any]]]] = {
    "range": _read_range,
    "linspace": _read_linspace,
    "logspace": _read_logspace,
}


def _read_uniform(place: str, given: object) -> Callable[[float], Any]:
    low, high = _bounds(place, given)
    return lambda share: low + share * (high - low)


def _read_loguniform(place: str, given: object) -> Callable[[float], Any]:
    low, high = _bounds(place, given)
    if low <= 0:
        raise GridError(f"{place}: {shown(given)}: expected a low end above 0")
    ratio = high / low
    if not math.isfinite(ratio):
        raise GridError(f"{place}: {shown(given)}: the ends are too far apart")
    return lambda share: low * ratio**share


def _read_normal(place: str, given: object) -> Callable[[float], Any]:
    if not isinstance(given, list) or len(given) != 2:
        raise GridError(f"{place}: {shown(given)}: expected [mean, standard deviation]")
    mean, deviation = (_number(place, number) for number in given)
    if deviation <= 0:
        raise GridError(f"{place}: {shown(given)}: expected a standard deviation above 0")
    normal = NormalDist(mean, deviation)
    # It has no value at the very end.
    return lambda share: normal.inv_cdf(min(max(share, 1e-15), 1 - 1e-15))


def _read_choice(place: str, given: object) -> Callable[[float], Any]:
    if not isinstance(given, list) or not given:
        raise GridError(f"{place}: {shown(given)}: expected a list of values")
    for item in given:
        check_value(place, item)
    return lambda share: given[min(len(given) - 1, int(share * len(given)))]


_DISTRIBUTIONS: Final[dict[str | None, Callable[[str, object], Callable[[float], Any]]]] = {
    "uniform": _read_uniform,
    "loguniform": _read_loguniform,
    "normal": _read_normal,
    "choice": _read_choice,
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


def _bounds(place: str, given: object) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise GridError(f"{place}: {shown(given)}: expected [low, high]")
    low, high = (_number(place, number) for number in given)
    if not low < high:
        raise GridError(f"{place}: {shown(given)}: expected a low end below the high one")
    if not math.isfinite(high - low):
        raise GridError(f"{place}: {shown(given)}: the ends are too far apart")
    return low, high


def _number(place: str, given: object) -> float:
    check_value(place, given)
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise GridError(f"{place}: {shown(given)}: expected a number")
    return float(given)


def _check_count(place: str, count: int) -> None:
    if count > VALUES_MOST:
        raise GridError(f"{place} has {count:,} values, {VALUES_MOST:,} can be at the most")
