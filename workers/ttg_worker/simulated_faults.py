"""Faults that a run's plan asks of its workers: chunks that always fail, results that arrive changed.

Which chunks it hits follows from the run's seed and the chunk alone, so every worker and every
attempt agree.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from ttg_worker.wire import Chunk, ChunkResult


class Picks:
    """A choice of chunks: ids and a share, such as ``3,17`` or ``5%``; empty picks none.

    ``purpose`` makes the shares of two choices independent. Raises :class:`ValueError` for
    anything else.
    """

    def __init__(self, text: str, *, seed: int, purpose: str) -> None:
        words = [word for word in text.split(",") if word]
        self.ids = frozenset(int(word) for word in words if not word.endswith("%"))
        share = max((float(word[:-1]) for word in words if word.endswith("%")), default=0.0)
        if not 0 <= share <= 100 or any(chunk_id < 0 for chunk_id in self.ids):
            raise ValueError(text)
        self.any = bool(self.ids) or share > 0
        self._below = int(share / 100 * 2**64)
        self._salt = f"{seed}/{purpose}/"

    def __contains__(self, chunk_id: int) -> bool:
        return chunk_id in self.ids or (self._below > 0 and self._draw(chunk_id) < self._below)

    def _draw(self, chunk_id: int) -> int:
        text = f"{self._salt}{chunk_id}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


class SimulatedFaults:
    """``poison`` and ``corrupt`` as :class:`Picks` reads them; ``fault_rate`` is a share of the attempts."""

    def __init__(self, *, poison: str, corrupt: str, fault_rate: float, seed: int) -> None:
        self._poison = Picks(poison, seed=seed, purpose="poison")
        self._corrupt = Picks(corrupt, seed=seed, purpose="corrupt-result")
        self._fault_below = int(fault_rate * 2**64)
        self._seed = seed
        # Asked for at each chunk, where there is next to nothing else to do.
        self._has_failures = self._poison.any or self._fault_below > 0
        self._has_corrupt = self._corrupt.any

    def before_compute(self, chunk: Chunk, attempt: int) -> str | None:
        """Why this attempt at the chunk is to fail, None where it is not."""
        if not self._has_failures:
            return None
        if chunk.chunk_id in self._poison:
            return f"chunk {chunk.chunk_id} is poisoned: the run's fault plan asked for it"
        if self._fault_below and _draw(self._seed, chunk.chunk_id, attempt) < self._fault_below:
            return f"chunk {chunk.chunk_id}, attempt {attempt}: the run's fault rate asked for it"
        return None

    def as_sent(self, result: ChunkResult) -> ChunkResult:
        """The result as it leaves the worker, after its digest was taken."""
        if not self._has_corrupt or result.chunk_id not in self._corrupt:
            return result
        changed = msgspec.json.decode(result.values, type=list[Any])
        changed[0] = "corrupt" if changed[0] != "corrupt" else None
        return msgspec.structs.replace(result, values=msgspec.Raw(msgspec.json.encode(changed)))


_64_BITS: Final = 2**64 - 1


def _draw(seed: int, chunk_id: int, attempt: int) -> int:
    """64 bits, evenly spread, the same for the same three numbers (splitmix64 over them)."""
    state = 0
    for number in (seed, chunk_id, attempt):
        state = (state + number + 0x9E3779B97F4A7C15) & _64_BITS
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _64_BITS
        state ^= state >> 31
    return state
