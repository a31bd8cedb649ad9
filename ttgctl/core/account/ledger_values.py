"""The values that a ledger's file holds: whole chunks as one row, others in parts."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ttg_worker import wire
from ttg_worker.wire import ChunkResult
from ttgctl.core.account.ledger_file import (
    packed_offsets,
    packed_seconds,
    unpacked_offsets,
    unpacked_seconds,
)
from ttgctl.core.account.partial_chunk import PartialChunk
from ttgctl.domain.run import RunSpec


class ChunkValues(NamedTuple):
    """The values of one chunk: all of them as one JSON array, or those of some ``offsets``, or None.

    ``seconds`` has how long each took, 0 where that was too short to tell; ``attempts`` how often they were
    tried, the last time included.
    """

    chunk_id: int
    values: bytes | None
    offsets: Sequence[int] = ()
    seconds: Sequence[float] = ()
    attempts: Sequence[int] = ()


class LedgerValues:
    """What is in the tables now; what a ledger has not written yet is not."""

    def __init__(self, db: sqlite3.Connection, spec: RunSpec) -> None:
        self._db = db
        self._spec = spec

    def whole(self, chunk_id: int) -> tuple[dict[int, msgspec.Raw], str]:
        """The values of a whole chunk by offset, and who gave the first of them."""
        row = self._db.execute("SELECT vals, worker_id FROM results WHERE chunk_id = ?", (chunk_id,))
        values, worker_id = row.fetchone()
        return dict(enumerate(msgspec.json.decode(values, type=list[msgspec.Raw]))), worker_id

    def parts(self, chunk_id: int) -> tuple[dict[int, msgspec.Raw], str]:
        """The same of one that is not whole, and who gave the last."""
        found: dict[int, msgspec.Raw] = {}
        last = ""
        for offsets, values, worker_id in self._db.execute(
            "SELECT offsets, vals, worker_id FROM parts WHERE chunk_id = ? ORDER BY position", (chunk_id,)
        ):
            last = worker_id
            decoded = msgspec.json.decode(values, type=list[msgspec.Raw])
            found.update(zip(unpacked_offsets(offsets, size=len(decoded)), decoded, strict=True))
        return found, last

    def _seconds(self, chunk_id: int, size: int) -> dict[int, float]:
        found: dict[int, float] = {}
        for offsets, seconds in self._db.execute(
            "SELECT offsets, seconds FROM parts WHERE chunk_id = ?", (chunk_id,)
        ):
            each = unpacked_offsets(offsets, size=size)
            found.update(zip(each, unpacked_seconds(seconds, size=len(each)), strict=True))
        return found

    def _attempts(self, chunk_id: int, size: int) -> dict[int, int]:
        found: dict[int, int] = {}
        for packed, attempts in self._db.execute(
            "SELECT offsets, attempt - redelivered FROM parts WHERE chunk_id = ?", (chunk_id,)
        ):
            found.update(dict.fromkeys(unpacked_offsets(packed, size=size), attempts))
        return found

    def add_part(
        self, position: int, result: ChunkResult, offsets: Sequence[int], new: Sequence[int]
    ) -> None:
        """Of a result with values for ``offsets``, those that are ``new``."""
        values = dict(zip(offsets, msgspec.json.decode(result.values, type=list[msgspec.Raw]), strict=True))
        seconds = dict(zip(offsets, result.seconds or [0.0] * len(offsets), strict=True))
        self._db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                position,
                result.chunk_id,
                packed_offsets(new),
                msgspec.json.encode([values[offset] for offset in new]),
                result.worker_id,
                result.attempt,
                result.redelivered,
                result.started_at,
                result.finished_at,
                packed_seconds([seconds[offset] for offset in new] if result.seconds else ()),
            ),
        )

    def merged(self, chunk_id: int, size: int) -> tuple[tuple[object, ...], int]:
        """The row of results that all parts of a chunk make together, and how many parts that are."""
        position, attempt, redelivered, started_at, finished_at, count = self._db.execute(
            "SELECT max(position), max(attempt), max(redelivered), min(started_at), max(finished_at),"
            " count(*) FROM parts WHERE chunk_id = ?",
            (chunk_id,),
        ).fetchone()
        (values, worker_id), seconds = self.parts(chunk_id), self._seconds(chunk_id, size)
        whole = b"[%b]" % b",".join([bytes(values[offset]) for offset in range(size)])
        row = (
            chunk_id,
            position,
            wire.digest(whole),
            whole,
            worker_id,
            attempt,
            redelivered,
            started_at,
            finished_at,
            packed_seconds([seconds[offset] for offset in range(size)] if any(seconds.values()) else ()),
        )
        return row, count

    def remove_parts(self, chunk_id: int) -> None:
        """Of a chunk that has a row of results from now on."""
        self._db.execute("DELETE FROM parts WHERE chunk_id = ?", (chunk_id,))

    def chunks(self, partial: Mapping[int, PartialChunk]) -> Iterator[ChunkValues]:
        """What there is of every chunk, in order; ``partial`` has those of which there are parts."""
        rows = self._db.execute(
            "SELECT chunk_id, vals, attempt - redelivered, seconds FROM results ORDER BY 1"
        )
        expected = 0
        for chunk_id, values, attempts, seconds in rows:
            for before in range(expected, chunk_id):
                yield self._of_parts(before, partial.get(before))
            size = len(self._spec.chunk_range(chunk_id))
            each = unpacked_seconds(seconds, size=size)
            yield ChunkValues(chunk_id, values, range(size), each, [attempts] * size)
            expected = chunk_id + 1
        for after in range(expected, self._spec.chunks_total):
            yield self._of_parts(after, partial.get(after))

    def _of_parts(self, chunk_id: int, partial: PartialChunk | None) -> ChunkValues:
        if partial is None or not partial.ok:
            return ChunkValues(chunk_id, None)
        size = partial.size
        values, seconds, attempts = (
            self.parts(chunk_id)[0],
            self._seconds(chunk_id, size),
            self._attempts(chunk_id, size),
        )
        offsets = sorted(values)
        array = b"[%b]" % b",".join([bytes(values[offset]) for offset in offsets])
        return ChunkValues(
            chunk_id, array, offsets, [seconds[o] for o in offsets], [attempts[o] for o in offsets]
        )

    def checksum(self) -> str:
        """SHA-256 over the digests of all whole chunks, in order, as hex."""
        total = hashlib.sha256()
        for (digest,) in self._db.execute("SELECT digest FROM results ORDER BY chunk_id"):
            total.update(digest.encode())
        return total.hexdigest()

    def chunks_by_worker(self) -> dict[str, int]:
        """Whole chunks by the worker that gave them, most first."""
        rows = self._db.execute(
            "SELECT worker_id, count(*) FROM results GROUP BY worker_id ORDER BY 2 DESC, 1"
        )
        return dict(rows)
