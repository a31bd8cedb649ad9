"""Fault plans: what is to go wrong with a run, when, and to whom, decided by the run's seed.

A fault is one line, ``KIND key=value ...``, such as ``kill-worker at=30% count=1``. Times run from
the first delivery. The same seed and plan give the same times and the same order of victims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from ttgctl.domain.fault_kinds import FAULT_KINDS, FaultKindName, Target

DEFAULT_AT_PERCENT: Final = 30.0
DEFAULT_FACTOR: Final = 4.0
# Chunk ids travel to the workers in their environment.
COUNT_MOST: Final = 1000


class FaultPlanError(ValueError):
    """A fault that makes no sense; names the place, the word, and what is accepted."""


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """One line of a plan; ``str()`` gives the line, which parses back to an equal one.

    Exactly one of ``at_percent`` (of chunks accounted for), ``at_seconds`` and ``every_seconds``
    is set for a kind that happens at a moment, none for the others. ``jitter_seconds`` is the
    most that is added to a time in seconds. ``times`` bounds ``every_seconds``. ``where`` are
    labels that a victim must carry. ``chunks`` names chunks where ``count`` and ``share_percent``
    leave the choice to the seed. ``factor`` is how many times slower.
    """

    kind: FaultKindName
    at_percent: float | None = None
    at_seconds: float | None = None
    every_seconds: float | None = None
    jitter_seconds: float | None = None
    times: int | None = None
    count: int | None = None
    share_percent: float | None = None
    chunks: tuple[int, ...] = ()
    duration_seconds: float | None = None
    rate: float | None = None
    factor: float | None = None
    where: tuple[tuple[str, str], ...] = ()

    @property
    def target(self) -> Target:
        """What it hits."""
        return FAULT_KINDS[self.kind].target

    @property
    def timed(self) -> bool:
        """Whether it happens at a moment and not to chunks, whenever these are computed."""
        return FAULT_KINDS[self.kind].timed

    def how_many(self, total: int) -> int:
        """How many of ``total`` it is to hit: at least one, even of a small share."""
        if self.share_percent is None:
            return self.count or 1
        return max(1, round(total * self.share_percent / 100))

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{key}={text}" for key, text in self._words())])

    def _words(self) -> Iterator[tuple[str, str]]:
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is None or value == ():
                continue
            key, _, unit = field.name.partition("_")
            if key == "where":
                yield key, ",".join(f"{label}={wanted}" for label, wanted in value)
            elif key == "chunks":
                yield key, ",".join(map(str, value))
            else:
                yield key, plain_number(value) + {"percent": "%", "seconds": "s"}.get(unit, "")


@dataclass(frozen=True)
class FaultPlan:
    """The faults of a run, in the order in which they were asked for."""

    faults: tuple[FaultSpec, ...] = ()


def parse_plan(texts: Iterable[str]) -> FaultPlan:
    """A plan from its lines; errors say which line, counted from 1."""
    return FaultPlan(tuple(parse_fault(text, place=f"fault {n}") for n, text in enumerate(texts, 1)))


def parse_fault(text: str, *, place: str = "fault") -> FaultSpec:
    """The fault that a line asks for, with defaults filled in: 30 % progress, one victim.

    Raises :class:`FaultPlanError`, which begins with ``place``.
    """
    kind, *words = text.split() or [""]
    settings: list[tuple[str, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise FaultPlanError(f"{place}: {_shown(word)}: expected key=value, such as at=30%")
        settings.append((key, value))
    return build_fault(kind, settings, place=place)


def build_fault(kind: str, settings: Sequence[tuple[str, str]], *, place: str = "fault") -> FaultSpec:
    """The same from a kind and its keys and values."""
    known = _known_kind(kind, place)
    keys = FAULT_KINDS[known].keys
    read: dict[str, Any] = {}
    given: set[str] = set()
    for key, value in settings:
        if key not in keys:
            raise FaultPlanError(f"{place}: {kind} has no {_shown(key)}; it takes {', '.join(keys)}")
        if key in given:
            raise FaultPlanError(f"{place}: {key} is there twice")
        given.add(key)
        try:
            read.update(_READERS[key](value))
        except ValueError as error:
            raise FaultPlanError(f"{place}: {key}={_shown(value)}: expected {error}") from None
    _check_together(kind, given, read, place)
    return _filled(FaultSpec(kind=known, **read))


def _known_kind(text: str, place: str) -> FaultKindName:
    for kind in FAULT_KINDS:
        if kind == text:
            return kind
    raise FaultPlanError(f"{place}: no fault is called {_shown(text)}; there are {', '.join(FAULT_KINDS)}")


def _check_together(kind: str, given: set[str], read: dict[str, Any], place: str) -> None:
    for one, other in (("at", "every"), ("count", "share"), ("count", "chunks"), ("share", "chunks")):
        if {one, other} <= given:
            raise FaultPlanError(f"{place}: {one} and {other} exclude each other; give one of them")
    if "times" in given and "every" not in given:
        raise FaultPlanError(f"{place}: times goes with every, such as every=10s times=3")
    if "jitter" in given and "every_seconds" not in read and "at_seconds" not in read:
        raise FaultPlanError(f"{place}: jitter goes with a time in seconds, such as at=12s jitter=2s")
    if kind == "error-rate" and "rate" not in given:
        raise FaultPlanError(f"{place}: error-rate needs rate=, such as rate=5%")


def _filled(spec: FaultSpec) -> FaultSpec:
    kind = FAULT_KINDS[spec.kind]
    keys = kind.keys
    filled: dict[str, Any] = {}
    if spec.timed and spec.at_percent is spec.at_seconds is spec.every_seconds is None:
        filled["at_percent"] = DEFAULT_AT_PERCENT
    if "count" in keys and spec.count is None and spec.share_percent is None and not spec.chunks:
        filled["count"] = 1
    if "duration" in keys and spec.duration_seconds is None:
        filled["duration_seconds"] = kind.duration_seconds
    if "factor" in keys and spec.factor is None:
        filled["factor"] = DEFAULT_FACTOR
    return replace(spec, **filled)


_NUMBER: Final = re.compile(r"\d{1,7}(?:\.\d{1,6})?", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_./]{0,252}[A-Za-z0-9])?", re.ASCII)


def _number(text: str, what: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(what)
    return float(text)


def _seconds(text: str, what: str = "a time such as 12s, 500ms or 2m") -> float:
    match = re.fullmatch(r"(.*?)(ms|s|m|h)", text, re.ASCII)
    if match is None:
        raise ValueError(what)
    return round(_number(match[1], what) * _UNITS[match[2]], 3)


def _percent(text: str, what: str = "a share such as 50%, over 0% and up to 100%") -> float:
    value = round(_number(text.removesuffix("%"), what), 3)
    if not text.endswith("%") or not 0 < value <= 100:
        raise ValueError(what)
    return value


def _read_at(text: str) -> dict[str, Any]:
    if text.endswith("%"):
        what = "progress from 0% to under 100%, or a time such as 12s"
        value = round(_number(text[:-1], what), 3)
        if value >= 100:
            raise ValueError(what)
        return {"at_percent": value}
    return {"at_seconds": _seconds(text, "progress such as 30%, or a time such as 12s, 500ms or 2m")}


def _read_every(text: str) -> dict[str, Any]:
    what = "a time of 100ms or more, such as 10s"
    value = _seconds(text, what)
    if value < 0.1:
        raise ValueError(what)
    return {"every_seconds": value}


def _read_rate(text: str) -> dict[str, Any]:
    what = "a share such as 5% or 0.05, from 0 to 1"
    value = _number(text.removesuffix("%"), what) / (100 if text.endswith("%") else 1)
    if value > 1:
        raise ValueError(what)
    return {"rate": round(value, 6)}


def _read_factor(text: str) -> dict[str, Any]:
    what = "how many times slower, such as 4, from 1.1 to 100"
    value = round(_number(text, what), 3)
    if not 1.1 <= value <= 100:
        raise ValueError(what)
    return {"factor": value}


def _whole(text: str, *, least: int, most: int) -> int:
    what = f"a whole number from {least} to {most}"
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not least <= int(text) <= most:
        raise ValueError(what)
    return int(text)


def _read_chunks(text: str) -> dict[str, Any]:
    try:
        ids = {_whole(part, least=0, most=999_999_999) for part in text.split(",")}
    except ValueError:
        raise ValueError("chunk ids such as 1,2,3") from None
    if len(ids) > COUNT_MOST:
        raise ValueError(f"at most {COUNT_MOST} chunk ids; use share= for more")
    return {"chunks": tuple(sorted(ids))}


def _read_where(text: str) -> dict[str, Any]:
    pairs = {}
    for part in text.split(","):
        label, equals, value = part.partition("=")
        if not equals or not _LABEL.fullmatch(label) or not _LABEL.fullmatch(value) or label in pairs:
            raise ValueError("labels such as node=ttg-sandbox-worker2 or app=one,tier=two")
        pairs[label] = value
    return {"where": tuple(sorted(pairs.items()))}


_READERS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "at": _read_at,
    "every": _read_every,
    "jitter": lambda text: {"jitter_seconds": _seconds(text)},
    "times": lambda text: {"times": _whole(text, least=1, most=1_000_000)},
    "count": lambda text: {"count": _whole(text, least=1, most=COUNT_MOST)},
    "share": lambda text: {"share_percent": _percent(text)},
    "duration": lambda text: {"duration_seconds": _seconds(text)},
    "rate": _read_rate,
    "factor": _read_factor,
    "chunks": _read_chunks,
    "where": _read_where,
}


def plain_number(value: float) -> str:
    """Without an exponent and without zeros that say nothing."""
    text = f"{value:.6f}" if isinstance(value, float) else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else word[:57] + "...")
