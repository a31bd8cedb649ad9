"""Faults that a run's plan asks of its workers: chunks that always fail, results that arrive changed.

Which chunks it hits follows from the run's seed and the chunk alone, so every worker and every
attempt agree.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from ttg_worker.wire import Chunk


class SimulatedFault(Exception):
    """Raised on purpose, because the run asked for it."""


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
    """``poison`` and ``corrupt`` as :class:`Picks` reads them."""

    def __init__(self, *, poison: str, corrupt: str, seed: int) -> None:
        self._poison = Picks(poison, seed=seed, purpose="poison")
        self._corrupt = Picks(corrupt, seed=seed, purpose="corrupt-result")

    def before_compute(self, chunk: Chunk) -> None:
        """Raises :class:`SimulatedFault` for a poisoned chunk."""
        if chunk.chunk_id in self._poison:
            raise SimulatedFault(f"chunk {chunk.chunk_id} is poisoned: the run's fault plan asked for it")

    def as_sent(self, chunk: Chunk, values: bytes) -> bytes:
        """The values as they leave the worker, after their digest was taken."""
        if chunk.chunk_id not in self._corrupt:
            return values
        changed = msgspec.json.decode(values, type=list[Any])
        changed[0] = "corrupt" if changed[0] != "corrupt" else None
        return msgspec.json.encode(changed)
