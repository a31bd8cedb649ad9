"""Rates of all contenders beside each other, and what this project aims at among them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import CEILING, CELERY, DRAMATIQ, OWN, Contender

# Of the raw client's rate, by backend.
CEILING_AIMS: Final = {"rabbitmq": 0.8, "redis": 0.6}
# Times a rival's rate, on RabbitMQ.
RIVAL_AIMS: Final = {CELERY: 8.0, DRAMATIQ: 3.0}


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """A contender's rates, in chunks per second, one a repeat; their median is the one that counts.

    ``of_ceiling`` is the share of the raw client's rate on this backend; ``times_celery`` and
    ``times_dramatiq`` compare with as many workers of theirs. None where there is nothing to
    compare with.
    """

    what: str
    backend: str
    workers: int | None
    chunks: int
    rates: tuple[float, ...]
    chunks_per_second: float
    of_ceiling: float | None = None
    times_celery: float | None = None
    times_dramatiq: float | None = None


@dataclass(frozen=True, kw_only=True)
class Aim:
    """``measured`` against ``wanted``, in ``unit``; ``least`` says that more is better, else less."""

    what: str
    measured: float
    wanted: float
    unit: str
    least: bool

    @property
    def met(self) -> bool:
        return self.measured >= self.wanted if self.least else self.measured <= self.wanted


def measure(contenders: Sequence[Contender], *, repeat: int, say: Callable[[str], None]) -> list[Throughput]:
    """All in turn, ``repeat`` times over: what else the machine does then hits all alike."""
    rates: list[list[float]] = [[] for _ in contenders]
    for time in range(1, repeat + 1):
        for contender, measured in zip(contenders, rates, strict=True):
            measured.append(contender.drain())
            say(f"{time}/{repeat}  {contender.title}: {measured[-1]:,.0f} chunks/s")
    return compared(zip(contenders, rates, strict=True))


def compared(measured: Iterable[tuple[Contender, Sequence[float]]]) -> list[Throughput]:
    medians = [(contender, tuple(rates), statistics.median(rates)) for contender, rates in measured]

    def times(rate: float, what: str, backend: str, workers: int | None) -> float | None:
        for contender, _, median in medians:
            if (contender.what, contender.backend, contender.workers) == (what, backend, workers):
                return rate / median
        return None

    return [
        Throughput(
            what=contender.what,
            backend=contender.backend,
            workers=contender.workers,
            chunks=contender.chunks,
            rates=rates,
            chunks_per_second=median,
            of_ceiling=times(median, CEILING, contender.backend, None),
            times_celery=times(median, CELERY, "rabbitmq", contender.workers),
            times_dramatiq=times(median, DRAMATIQ, "rabbitmq", contender.workers),
        )
        for contender, rates, median in medians
    ]


def aims(rows: Sequence[Throughput]) -> list[Aim]:
    """Each at its best number of workers: this project, and whom it is compared with."""
    found = []
    for backend, wanted in CEILING_AIMS.items():
        own, ceiling = _best(rows, OWN, backend), _best(rows, CEILING, backend)
        if own and ceiling:
            what = f"share of the raw client's rate on {backend}"
            found.append(Aim(what=what, measured=own / ceiling, wanted=wanted, unit="share", least=True))
    for rival, wanted in RIVAL_AIMS.items():
        own, theirs = _best(rows, OWN, "rabbitmq"), _best(rows, rival, "rabbitmq")
        if own and theirs:
            what = f"times {rival}'s rate on rabbitmq"
            found.append(Aim(what=what, measured=own / theirs, wanted=wanted, unit="times", least=True))
    return found


def _best(rows: Sequence[Throughput], what: str, backend: str) -> float | None:
    return max((r.chunks_per_second for r in rows if (r.what, r.backend) == (what, backend)), default=None)
