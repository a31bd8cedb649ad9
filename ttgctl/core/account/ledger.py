"""The ledger: one entry a chunk. The first result wins, whatever comes later is kept as evidence.

An SQLite file, so that a million chunks need no memory and a killed command loses at most what
the broker will tell again. Positions of the broker's records make reading idempotent: what was
recorded is skipped, so a command that resumes a run never takes an old result for a duplicate.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ttg_worker import wire
from ttg_worker.brokers.attempts import unreadable
from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter
from ttgctl.domain.run import RunSpec

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS results (
  chunk_id INTEGER PRIMARY KEY, position INTEGER NOT NULL, digest TEXT NOT NULL, vals BLOB NOT NULL,
  worker_id TEXT NOT NULL, attempt INTEGER NOT NULL, redelivered INTEGER NOT NULL,
  started_at REAL NOT NULL, finished_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS extras (
  position INTEGER PRIMARY KEY, kind TEXT NOT NULL, chunk_id INTEGER, worker_id TEXT, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS dead_letters (
  position INTEGER PRIMARY KEY, chunk_id INTEGER, cause TEXT NOT NULL, retries INTEGER NOT NULL,
  letter BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'dead'
);
CREATE INDEX IF NOT EXISTS dead_letters_by_chunk ON dead_letters (chunk_id);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
DUPLICATE, CONFLICT, UNEXPECTED = "duplicate", "conflict", "unexpected"
# What became of a dead letter. It is REPLAYING from the wish to put it back until the broker has it:
# a command that dies between the two leaves a chunk that is outstanding, and not one given up.
DEAD, REPLAYING, REPLAYED, DROPPED = "dead", "replaying", "replayed", "dropped"


@dataclass
class Totals:
    """Running counts, kept so that a view costs no query; parameters count those of ``ok`` chunks."""

    ok: int = 0
    parameters_ok: int = 0
    duplicated: int = 0
    conflicting: int = 0
    unexpected: int = 0
    redelivered: int = 0
    retried: int = 0
    open_dead_letters: int = 0

    @property
    def messages(self) -> int:
        """All that came as results."""
        return self.ok + self.duplicated + self.conflicting + self.unexpected


class Ledger:
    """Entries of one run. ``expected_digest`` gives a chunk's known digest, where one is known.

    Records are buffered until :meth:`commit`; totals count them at once. ``dead`` has the ids
    of chunks that are given up and have no result.
    """

    def __init__(
        self, path: Path | str, spec: RunSpec, *, expected_digest: Callable[[int], str] | None = None
    ) -> None:
        self._spec = spec
        self._expected_digest = expected_digest
        self._db = sqlite3.connect(path, timeout=30)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._seen = bytearray(spec.chunks_total)
        self._new: list[tuple[object, ...]] = []
        # Asked for at every result, so here as well as in the file; only news are written.
        self._facts: dict[str, float] = {}
        self._new_facts: dict[str, float] = {}
        self.totals = Totals()
        self.dead: set[int] = set()
        self.results_position = -1
        self.dead_letters_position = -1
        self._load()

    def _load(self) -> None:
        self._facts = dict(self._db.execute("SELECT name, value FROM facts"))
        for chunk_id, attempt, redelivered in self._db.execute(
            "SELECT chunk_id, attempt, redelivered FROM results"
        ):
            self._count(chunk_id, attempt, redelivered)
        for kind, count in self._db.execute("SELECT kind, count(*) FROM extras GROUP BY kind"):
            self._count_extra(kind, count)
        for chunk_id, state, retries in self._db.execute("SELECT chunk_id, state, retries FROM dead_letters"):
            self._count_dead(chunk_id, state, retries)
        self.results_position = self._greatest("results", "extras")
        self.dead_letters_position = self._greatest("dead_letters")

    def _greatest(self, *tables: str) -> int:
        found = [self._db.execute(f"SELECT max(position) FROM {table}").fetchone()[0] for table in tables]  # noqa: S608
        return max((position for position in found if position is not None), default=-1)

    def _count(self, chunk_id: int, attempt: int, redelivered: int) -> None:
        self._seen[chunk_id] = 1
        self.dead.discard(chunk_id)
        totals = self.totals
        totals.ok += 1
        totals.parameters_ok += len(self._spec.chunk_range(chunk_id))
        totals.redelivered += redelivered > 0
        totals.retried += attempt - redelivered - 1

    def _count_extra(self, kind: str, count: int) -> None:
        totals = self.totals
        totals.duplicated += count * (kind == DUPLICATE)
        totals.conflicting += count * (kind == CONFLICT)
        totals.unexpected += count * (kind == UNEXPECTED)

    def _count_dead(self, chunk_id: int | None, state: str, retries: int) -> None:
        self.totals.open_dead_letters += state == DEAD
        self.totals.retried += retries
        # A replayed one is on its way again; a dropped one stays given up.
        if chunk_id is not None and state in (DEAD, DROPPED) and not self.has_result(chunk_id):
            self.dead.add(chunk_id)

    def has_result(self, chunk_id: int) -> bool:
        return 0 <= chunk_id < len(self._seen) and bool(self._seen[chunk_id])

    @property
    def accounted(self) -> int:
        """Distinct chunks with a result or given up."""
        return self.totals.ok + len(self.dead)

    def record_result(self, recorded: Recorded[ChunkResult | Unreadable]) -> ChunkResult | None:
        """The result if it is the first of its chunk, else None; old positions are skipped."""
        position, result = recorded.position, recorded.message
        if position <= self.results_position:
            return None
        self.results_position = position
        if isinstance(result, Unreadable):
            self._extra(position, UNEXPECTED, None, None, f"{result.error}: {result.body}")
            return None
        chunk_id = result.chunk_id
        if result.run_id != self._spec.run_id or not 0 <= chunk_id < len(self._seen):
            self._extra(
                position, UNEXPECTED, chunk_id, result.worker_id, f"no chunk of run {self._spec.run_id}"
            )
            return None
        values = bytes(result.values)
        actual = wire.digest(values)
        if actual != result.digest:
            self._extra(
                position, CONFLICT, chunk_id, result.worker_id, "values differ from their own checksum"
            )
            return None
        if self._expected_digest is not None and actual != self._expected_digest(chunk_id):
            self._extra(
                position, CONFLICT, chunk_id, result.worker_id, "values differ from what the workload gives"
            )
            return None
        if self._seen[chunk_id]:
            self._later(position, result)
            return None
        self._new.append(
            (
                chunk_id,
                position,
                result.digest,
                values,
                result.worker_id,
                result.attempt,
                result.redelivered,
                result.started_at,
                result.finished_at,
            )
        )
        self._count(chunk_id, result.attempt, result.redelivered)
        return result

    def _later(self, position: int, result: ChunkResult) -> None:
        self._flush()
        row = self._db.execute("SELECT digest, worker_id FROM results WHERE chunk_id = ?", (result.chunk_id,))
        first_digest, first_worker = row.fetchone()
        kind = DUPLICATE if first_digest == result.digest else CONFLICT
        self._extra(position, kind, result.chunk_id, result.worker_id, f"the first came from {first_worker}")

    def _extra(
        self, position: int, kind: str, chunk_id: int | None, worker_id: str | None, detail: str
    ) -> None:
        self._db.execute(
            "INSERT INTO extras VALUES (?, ?, ?, ?, ?)", (position, kind, chunk_id, worker_id, detail)
        )
        self._count_extra(kind, 1)

    def record_dead_letter(self, recorded: Recorded[DeadLetter | Unreadable]) -> DeadLetter | None:
        """The dead letter if it is new; old positions are skipped.

        One of no chunk of this run is evidence, and gives nothing up.
        """
        position, letter = recorded.position, recorded.message
        if position <= self.dead_letters_position:
            return None
        self.dead_letters_position = position
        if isinstance(letter, Unreadable):
            letter = unreadable(letter, run_id=self._spec.run_id)
        chunk = letter.chunk if self._is_ours(letter.chunk) else None
        chunk_id, retries = (chunk.chunk_id, chunk.retries) if chunk is not None else (None, 0)
        self._db.execute(
            "INSERT INTO dead_letters (position, chunk_id, cause, retries, letter) VALUES (?, ?, ?, ?, ?)",
            (position, chunk_id, letter.cause, retries, wire.encode(letter)),
        )
        self._count_dead(chunk_id, DEAD, retries)
        return letter

    def _is_ours(self, chunk: Chunk | None) -> bool:
        if chunk is None or chunk.run_id != self._spec.run_id or chunk.chunk_id >= len(self._seen):
            return False
        return range(chunk.start, chunk.stop) == self._spec.chunk_range(chunk.chunk_id)

    def settle_dead_letters(self, positions: Iterable[int], state: str) -> None:
        """Marks dead letters as ``state``, all of them at once and safely."""
        self._db.executemany(
            "UPDATE dead_letters SET state = ? WHERE position = ?", [(state, p) for p in positions]
        )
        self.commit()
        self.totals = Totals()
        self.dead = set()
        self._seen = bytearray(self._spec.chunks_total)
        self._load()

    def dead_letters(self) -> Iterator[tuple[Recorded[DeadLetter], str]]:
        """Every dead letter with its state (:data:`DEAD` and the others), oldest first."""
        rows = self._db.execute("SELECT position, letter, state FROM dead_letters ORDER BY position")
        for position, letter, state in rows.fetchall():
            yield Recorded(position, wire.decode_dead_letter(letter)), state

    def record_published(self, *, attempted: int, acknowledged: int) -> None:
        """How many chunks, from the first on, were sent and confirmed; only ever grows."""
        self._set_fact("attempted", max(attempted, self.attempted))
        self._set_fact("acknowledged", max(acknowledged, self.acknowledged))

    @property
    def attempted(self) -> int:
        return int(self._facts.get("attempted", 0))

    @property
    def acknowledged(self) -> int:
        return int(self._facts.get("acknowledged", 0))

    @property
    def first_delivery_at(self) -> float | None:
        """Unix seconds of the first time a worker had a chunk in hand, None before that."""
        return self._facts.get("first_delivery_at")

    def saw_delivery(self, at: float) -> None:
        """A worker had a chunk in hand at ``at``; the earliest is kept."""
        known = self.first_delivery_at
        if known is None or at < known:
            self._set_fact("first_delivery_at", at)

    def saw_result(self, at: float) -> None:
        """A result was computed at ``at``; the latest is kept."""
        if at > self._facts.get("last_result_at", 0.0):
            self._set_fact("last_result_at", at)

    def _set_fact(self, name: str, value: float) -> None:
        if self._facts.get(name) != value:
            self._facts[name] = self._new_facts[name] = value

    def _flush(self) -> None:
        if self._new_facts:
            self._db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", self._new_facts.items())
            self._new_facts.clear()
        if self._new:
            self._db.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._new)
            self._new.clear()

    def commit(self) -> None:
        """Makes all that was recorded safe against the death of this process."""
        self._flush()
        self._db.commit()

    def missing(self, upto: int) -> list[int]:
        """Ids below ``upto`` with neither a result nor a dead letter, in order."""
        seen, dead = self._seen, self.dead
        return [c for c in range(min(upto, len(seen))) if not seen[c] and c not in dead]

    def last_result_at(self) -> float | None:
        """Unix seconds when the last accepted result was computed: by this machine's clock where somebody
        told (:meth:`saw_result`), else by the worker's."""
        known = self._facts.get("last_result_at")
        if known is not None:
            return known
        self._flush()
        row = self._db.execute("SELECT max(finished_at) FROM results").fetchone()
        return None if row[0] is None else float(row[0])

    def extras(self, kind: str) -> list[tuple[int | None, str | None, str]]:
        """``(chunk_id, worker_id, detail)`` of every message of one kind beyond the accepted results."""
        rows = self._db.execute(
            "SELECT chunk_id, worker_id, detail FROM extras WHERE kind = ? ORDER BY position", (kind,)
        )
        return list(rows)

    def redelivered_chunks(self) -> int:
        """Distinct ok chunks that were handed over again after a crash."""
        return self.totals.redelivered

    def checksum(self) -> str:
        """SHA-256 over the digests of all accepted results, in chunk order, as hex."""
        self._flush()
        total = hashlib.sha256()
        for (digest,) in self._db.execute("SELECT digest FROM results ORDER BY chunk_id"):
            total.update(digest.encode())
        return total.hexdigest()

    def values(self) -> Iterator[tuple[int, bytes | None]]:
        """``(chunk_id, JSON array of values)`` of every chunk in order; None where there is no result."""
        self._flush()
        rows = self._db.execute("SELECT chunk_id, vals FROM results ORDER BY chunk_id")
        expected = 0
        for chunk_id, values in rows:
            yield from ((missing, None) for missing in range(expected, chunk_id))
            yield chunk_id, values
            expected = chunk_id + 1
        yield from ((missing, None) for missing in range(expected, len(self._seen)))

    def chunks_by_worker(self) -> dict[str, int]:
        """Accepted results by the worker that gave them, most first."""
        self._flush()
        rows = self._db.execute(
            "SELECT worker_id, count(*) FROM results GROUP BY worker_id ORDER BY 2 DESC, 1"
        )
        return dict(rows)

    def close(self) -> None:
        self.commit()
        self._db.close()
