"""When a plan's faults are due and whom they hit first: it follows from the run's seed and nothing else."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ttgctl.domain.faults import FaultSpec, plain_number


@dataclass(frozen=True, kw_only=True)
class Occurrence:
    """One time that a fault of the plan is due. ``number`` counts those of one fault from 0.

    Due at a progress (``at_percent``) or at a time since the first delivery (``at_seconds``).
    """

    index: int
    number: int
    spec: FaultSpec
    at_percent: float | None
    at_seconds: float | None

    def due(self, *, fraction: float, elapsed_seconds: float) -> bool:
        if self.at_percent is not None:
            return fraction * 100 >= self.at_percent
        return self.at_seconds is not None and elapsed_seconds >= self.at_seconds


def occurrences(spec: FaultSpec, *, index: int, seed: int) -> Iterator[Occurrence]:
    """Every time that the plan's fault number ``index`` is due, in order; endless for ``every``."""
    for number in range(spec.times) if spec.times else itertools.count():
        at = spec.at_seconds
        if spec.every_seconds is not None:
            at = spec.every_seconds * (number + 1)
        if at is not None and spec.jitter_seconds:
            at += spec.jitter_seconds * _draw(seed, index, number, "jitter") / 2**64
        at = None if at is None else round(at, 3)
        yield Occurrence(index=index, number=number, spec=spec, at_percent=spec.at_percent, at_seconds=at)
        if spec.every_seconds is None:
            return


def by_number(worker_id: str) -> tuple[int, str]:
    """Sorts workers as they came: ``worker-10`` after ``worker-9``."""
    return len(worker_id), worker_id


def victim_order(occurrence: Occurrence, ordinals: Iterable[int], *, seed: int) -> list[int]:
    """Candidates by their ordinals (workers counted from 1 as they came), the first victim first.

    Who comes before whom depends on no one else being there, nor on when it is asked.
    """
    draw = {n: _draw(seed, occurrence.index, occurrence.number, f"victim {n}") for n in ordinals}
    return sorted(draw, key=lambda ordinal: (draw[ordinal], ordinal))


def picked_chunks(spec: FaultSpec, *, index: int, seed: int, chunks_total: int) -> str:
    """The chunks that a fault of chunks hits, as :class:`~ttg_worker.simulated_faults.Picks` reads them.

    Ids that the run does not have are left out, so there may be none. A share stays a share: it is
    drawn chunk by chunk, and comes out exact only on average.
    """
    if spec.share_percent is not None:
        return f"{plain_number(spec.share_percent)}%"
    chunks = spec.chunks
    if not chunks:
        wanted = min(chunks_total, spec.count or 1)
        chunks = tuple(random.Random(_draw(seed, index, 0, spec.kind)).sample(range(chunks_total), wanted))
    return ",".join(str(c) for c in sorted(chunks) if c < chunks_total)


def _draw(seed: int, index: int, number: int, purpose: str) -> int:
    """64 bits that follow from these four alone."""
    text = f"{seed}/{index}/{number}/{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
