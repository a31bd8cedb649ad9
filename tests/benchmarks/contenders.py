"""Who is measured at draining chunks, with how many of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import RUN_ID
from ttgctl.ui.text import formats

OWN: Final = "ttgctl"
# The same with the workers of another checkout: what a change cost or gave.
BASELINE: Final = "ttgctl, baseline"
CEILING: Final = "raw client"
CELERY: Final = "Celery"
DRAMATIQ: Final = "Dramatiq"
# So that each measurement takes seconds: Redis is several times faster than RabbitMQ, and both
# rivals, which publish one by one besides, are several times slower.
REDIS_SHARE: Final = 4.0
RIVAL_SHARE: Final = 0.1
RESULTS_DATABASES: Final = {CELERY: 1, DRAMATIQ: 2}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """``drain`` measures once, in chunks per second. ``workers`` is None for a raw client, which is
    one process that does nothing else."""

    what: str
    backend: str
    workers: int | None
    chunks: int
    drain: Callable[[], float]

    @property
    def title(self) -> str:
        of = "" if self.workers is None else f", {formats.counted(self.workers, 'worker')}"
        return f"{self.what} on {self.backend}{of}"


def contenders(
    whats: Sequence[str],
    *,
    urls: Mapping[str, str],
    workers: Sequence[int],
    chunks: int,
    folder: Path,
    baseline: Path | None = None,
) -> Iterator[Contender]:
    """All that can be measured on these servers; both rivals need both of them.

    ``baseline`` is a checkout whose workers take part as well.
    """
    for backend, url in urls.items():
        amount = round(chunks * REDIS_SHARE) if backend == "redis" else chunks
        if CEILING in whats:
            yield _ceiling(backend, url, amount)
        if OWN in whats:
            for number in workers:
                yield _own(backend, url, number, amount, folder)
                if baseline is not None:
                    yield _own(backend, url, number, amount, folder, baseline)
    if {"rabbitmq", "redis"} <= set(urls):
        for what in (CELERY, DRAMATIQ):
            if what in whats:
                for number in workers:
                    yield _rival(what, urls, number, max(1, round(chunks * RIVAL_SHARE)), folder)


def installed(what: str) -> bool:
    """Whether a rival is on this machine; the rest is always there."""
    return what not in RESULTS_DATABASES or importlib.util.find_spec(what.lower()) is not None


def _ceiling(backend: str, url: str, chunks: int) -> Contender:
    def drain() -> float:
        if backend == "rabbitmq":
            from benchmarks.rabbitmq_ceiling import ceiling
        else:
            from benchmarks.redis_ceiling import ceiling
        return ceiling(url, chunks)

    return Contender(what=CEILING, backend=backend, workers=None, chunks=chunks, drain=drain)


def _own(
    backend: str, url: str, workers: int, chunks: int, folder: Path, checkout: Path | None = None
) -> Contender:
    def drain() -> float:
        from ttgctl.drain_rate.workers import drain as drained

        return drained(url, RUN_ID, workers=workers, chunks=chunks, folder=folder, checkout=checkout)

    what = OWN if checkout is None else BASELINE
    return Contender(what=what, backend=backend, workers=workers, chunks=chunks, drain=drain)


def _rival(what: str, urls: Mapping[str, str], workers: int, chunks: int, folder: Path) -> Contender:
    results_url = f"{urls['redis'].rpartition('/')[0]}/{RESULTS_DATABASES[what]}"

    def drain() -> float:
        # Of the development extra, so looked for when wanted.
        if what == CELERY:
            from benchmarks.celery_rival import drain
        else:
            from benchmarks.dramatiq_rival import drain
        return drain(urls["rabbitmq"], results_url=results_url, workers=workers, chunks=chunks, folder=folder)

    return Contender(what=what, backend="rabbitmq", workers=workers, chunks=chunks, drain=drain)
