"""Rates from what was done when; the same arithmetic for whoever is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ttgctl.core.ports import SubstrateError


class BenchmarkError(SubstrateError):
    """A measurement that can't be trusted or was not completed; says whose, and what was seen."""


@dataclass(frozen=True, slots=True)
class Done:
    """One chunk computed: by which worker process, and when, in Unix seconds by its own clock."""

    worker: str
    at: float


def chunks_per_second(done: Sequence[Done]) -> float:
    """The rate while all workers work: from when the last of them had done its first chunk, on.

    How long processes take to start is thereby nobody's gain or loss. Raises
    :class:`BenchmarkError` when the work was over before that.
    """
    firsts: dict[str, float] = {}
    for one in done:
        firsts[one.worker] = min(one.at, firsts.get(one.worker, one.at))
    begin = max(firsts.values(), default=0.0)
    end = max((one.at for one in done), default=0.0)
    counted = sum(one.at > begin for one in done)
    if not counted:
        raise BenchmarkError(
            f"{len(done)} chunks were done before all workers had one; give it more with --chunks"
        )
    return counted / (end - begin)
