"""The ledger: what became of each chunk, and of each parameter of those that are not whole.

The first value of a parameter wins, whatever comes later is kept as evidence: equal it is a duplicate, else a
conflict; being given up gives way to a value. An SQLite file, so that a million chunks need no memory and a
killed command loses at most what the broker will tell again. Positions of the broker's records make reading
idempotent: what was recorded is skipped, so a command that resumes a run never takes an old result for a
duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.attempts import unreadable
from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter
from ttgctl.core.account.ledger_file import (
    open_ledger_file,
    packed_offsets,
    packed_seconds,
    unpacked_offsets,
)
from ttgctl.core.account.ledger_values import ChunkValues, LedgerValues
from ttgctl.core.account.partial_chunk import PartialChunk
from ttgctl.domain.run import RunSpec

# Further than any position of a broker's.
_FAR: Final = 2**62
DUPLICATE, CONFLICT, UNEXPECTED = "duplicate", "conflict", "unexpected"
# What became of a dead letter. It is REPLAYING from the wish to put it back until the broker has it:
# a command that dies between the two leaves a chunk that is outstanding, and not one given up.
DEAD, REPLAYING, REPLAYED, DROPPED = "dead", "replaying", "replayed", "dropped"


@dataclass
class Totals:
    """Running counts, kept so that a view costs no query. ``ok`` are whole chunks, ``messages`` all that
    came as results."""

    ok: int = 0
    parameters_ok: int = 0
    parameters_failed: int = 0
    messages: int = 0
    duplicated: int = 0
    conflicting: int = 0
    unexpected: int = 0
    redelivered: int = 0
    retried: int = 0
    open_dead_letters: int = 0


class _Conflict(Exception):
    """A result that can't be one of its chunk; says why."""


class Ledger:
    """Entries of one run. ``expected_digest`` gives the digest of the values of some parameters, by their
    indices, where it is known.

    Records are buffered until :meth:`commit`; totals count them at once. ``dead`` has the ids
    of chunks of which each parameter has a value or is given up, and at least one is given up.
    """

    def __init__(
        self,
        path: Path | str,
        spec: RunSpec,
        *,
        expected_digest: Callable[[Sequence[int]], str] | None = None,
    ) -> None:
        self._spec = spec
        self._expected_digest = expected_digest
        self._db = open_ledger_file(path)
        self._values = LedgerValues(self._db, spec)
        self._partial: dict[int, PartialChunk] = {}
        # By chunk, the most that one of its results tells of, and the sum of its letters'.
        self._retries: dict[int, tuple[int, int]] = {}
        self._seen = bytearray(spec.chunks_total)
        self._new: list[tuple[object, ...]] = []
        # Asked for at every result, so here as well as in the file; only news are written.
        self._facts: dict[str, float] = {}
        self._new_facts: dict[str, float] = {}
        self._first = ""
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
        for chunk_id, offsets, attempt, redelivered in self._db.execute(
            "SELECT chunk_id, offsets, attempt, redelivered FROM parts"
        ):
            partial = self._partial_of(chunk_id)
            each = unpacked_offsets(offsets, size=partial.size)
            self._count_part(chunk_id, each, attempt, redelivered)
        for kind, count in self._db.execute("SELECT kind, count(*) FROM extras GROUP BY kind"):
            self._count_extra(kind, count)
        for chunk_id, state, retries, offsets in self._db.execute(
            "SELECT chunk_id, state, retries, offsets FROM dead_letters"
        ):
            self._count_dead(chunk_id, state, retries, offsets)
        self.totals.messages = self._count_messages()
        self.results_position = self._greatest("results", "parts", "extras")
        self.dead_letters_position = self._greatest("dead_letters")

    def _count_messages(self) -> int:
        kept = "(SELECT count(*) FROM results) + (SELECT count(*) FROM parts) + (SELECT count(*) FROM extras)"
        return int(self._db.execute(f"SELECT {kept}").fetchone()[0] + self._facts.get("merged", 0))

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
        self._count_retries(chunk_id, results=attempt - redelivered - 1)

    def _count_extra(self, kind: str, count: int) -> None:
        totals = self.totals
        totals.duplicated += count * (kind == DUPLICATE)
        totals.conflicting += count * (kind == CONFLICT)
        totals.unexpected += count * (kind == UNEXPECTED)

    def _partial_of(self, chunk_id: int) -> PartialChunk:
        partial = self._partial.get(chunk_id)
        if partial is None:
            partial = self._partial[chunk_id] = PartialChunk(len(self._spec.chunk_range(chunk_id)))
        return partial

    def _count_part(self, chunk_id: int, offsets: Sequence[int], attempt: int, redelivered: int) -> None:
        totals, partial = self.totals, self._partial_of(chunk_id)
        failed = partial.failed
        partial.have(offsets)
        partial.redelivered = max(partial.redelivered, redelivered)
        self._count_retries(chunk_id, results=attempt - redelivered - 1)
        totals.parameters_ok += len(offsets)
        totals.parameters_failed += partial.failed - failed

    def _count_retries(self, chunk_id: int, *, results: int = 0, letter: int = 0) -> None:
        """A result came after so many retries of its chunk, or a letter did; a chunk that was put back
        begins anew."""
        if results <= 0 and letter <= 0:
            return
        by_results, by_letters = self._retries.get(chunk_id, (0, 0))
        now = (max(by_results, results), by_letters + letter)
        self._retries[chunk_id] = now
        self.totals.retried += max(now) - max(by_results, by_letters)

    def _count_dead(self, chunk_id: int | None, state: str, retries: int, offsets: bytes | None) -> None:
        self.totals.open_dead_letters += state == DEAD
        if chunk_id is None:
            return
        self._count_retries(chunk_id, letter=retries)
        if self.has_result(chunk_id):
            return
        partial = self._partial_of(chunk_id)
        # A replayed one is on its way again; a dropped one stays given up.
        if state in (DEAD, DROPPED):
            failed = partial.failed
            partial.give_up(unpacked_offsets(offsets, size=partial.size))
            self.totals.parameters_failed += partial.failed - failed
            self._look_if_accounted(chunk_id, partial)

    def _look_if_accounted(self, chunk_id: int, partial: PartialChunk) -> None:
        if partial.accounted and not partial.whole:
            self.dead.add(chunk_id)

    def has_result(self, chunk_id: int) -> bool:
        return 0 <= chunk_id < len(self._seen) and bool(self._seen[chunk_id])

    def gains_from(self, chunk: Chunk) -> bool:
        """Whether computing this chunk, or part of a chunk, can give a value that there is not."""
        if self.has_result(chunk.chunk_id):
            return False
        partial = self._partial.get(chunk.chunk_id)
        return partial is None or partial.gains_from(chunk.offsets or range(partial.size))

    @property
    def accounted(self) -> int:
        """Distinct chunks of which each parameter has a value or is given up."""
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
        try:
            self._check(result)
            if self._seen[chunk_id]:
                self._flush()
                self._compare(result, *self._values.whole(chunk_id))
            elif result.offsets or chunk_id in self._partial:
                return result if self._record_part(position, result) else None
            else:
                self._record_whole(position, result)
                return result
        except _Conflict as conflict:
            self._extra(position, CONFLICT, chunk_id, result.worker_id, str(conflict))
            return None
        self._extra(position, DUPLICATE, chunk_id, result.worker_id, f"the first came from {self._first}")
        return None

    def _check(self, result: ChunkResult) -> None:
        """Whether the result agrees with itself, and with what the workload gives where that is known."""
        indices: Sequence[int] = self._spec.chunk_range(result.chunk_id)
        try:
            wire.check_offsets(result.offsets, len(indices))
        except ValueError as error:
            raise _Conflict(str(error)) from None
        if result.offsets:
            indices = [indices[offset] for offset in result.offsets]
        actual = wire.digest(bytes(result.values))
        if actual != result.digest:
            raise _Conflict("values differ from their own checksum")
        if self._expected_digest is not None:
            if actual != self._expected_digest(indices):
                raise _Conflict("values differ from what the workload gives")
        elif (count := _count_values(result.values)) != len(indices):
            raise _Conflict(f"it has {count:,} values for {len(indices):,} parameters")
        if result.seconds and len(result.seconds) != len(indices):
            raise _Conflict(f"it has {len(result.seconds):,} durations for {len(indices):,} parameters")

    def _record_whole(self, position: int, result: ChunkResult) -> None:
        self._new.append(
            (
                result.chunk_id,
                position,
                result.digest,
                bytes(result.values),
                result.worker_id,
                result.attempt,
                result.redelivered,
                result.started_at,
                result.finished_at,
                packed_seconds(result.seconds),
            )
        )
        self.totals.messages += 1
        self._count(result.chunk_id, result.attempt, result.redelivered)

    def _record_part(self, position: int, result: ChunkResult) -> bool:
        """Whether it had any value that was not there."""
        chunk_id, partial = result.chunk_id, self._partial_of(result.chunk_id)
        offsets = result.offsets or range(partial.size)
        new = partial.new(offsets)
        if len(new) < len(offsets):
            self._compare(result, *self._values.parts(chunk_id))
        if not new:
            self._extra(position, DUPLICATE, chunk_id, result.worker_id, f"the first came from {self._first}")
            return False
        self._values.add_part(position, result, offsets, new)
        self.totals.messages += 1
        self.dead.discard(chunk_id)
        self._count_part(chunk_id, new, result.attempt, result.redelivered)
        if partial.whole:
            self._merge(chunk_id, partial)
        else:
            self._look_if_accounted(chunk_id, partial)
        return True

    def _merge(self, chunk_id: int, partial: PartialChunk) -> None:
        """All parts of a chunk are there: from now on it is one that is whole."""
        row, parts = self._values.merged(chunk_id, partial.size)
        self._new.append(row)
        # In one transaction: the parts go when the row of all of them comes.
        self._flush()
        self._values.remove_parts(chunk_id)
        self._set_fact("merged", self._facts.get("merged", 0) + parts - 1)
        del self._partial[chunk_id]
        self._seen[chunk_id] = 1
        self.totals.ok += 1
        self.totals.redelivered += partial.redelivered > 0

    def _compare(self, result: ChunkResult, known: Mapping[int, msgspec.Raw], worker_id: str) -> None:
        """Whether what is ``known`` of the result's parameters already, from a worker, is equal to it."""
        self._first = worker_id
        values = msgspec.json.decode(result.values, type=list[msgspec.Raw])
        for offset, value in zip(result.offsets or range(len(values)), values, strict=True):
            if offset in known and bytes(known[offset]) != bytes(value):
                index = self._spec.chunk_range(result.chunk_id)[offset]
                raise _Conflict(f"the value of parameter {index} differs from the one of {self._first}")

    def _extra(
        self, position: int, kind: str, chunk_id: int | None, worker_id: str | None, detail: str
    ) -> None:
        self._db.execute(
            "INSERT INTO extras VALUES (?, ?, ?, ?, ?)", (position, kind, chunk_id, worker_id, detail)
        )
        self.totals.messages += 1
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
        offsets = packed_offsets(chunk.offsets) if chunk is not None else None
        self._db.execute(
            "INSERT INTO dead_letters (position, chunk_id, cause, retries, letter, offsets)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (position, chunk_id, letter.cause, retries, wire.encode(letter), offsets),
        )
        self._count_dead(chunk_id, DEAD, retries, offsets)
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
        self._partial, self._retries = {}, {}
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
            self._db.executemany("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._new)
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
        row = self._db.execute(
            "SELECT max(at) FROM (SELECT max(finished_at) AS at FROM results"
            " UNION ALL SELECT max(finished_at) FROM parts)"
        ).fetchone()
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
        return self._values.checksum()

    def outstanding_offsets(self, chunk_id: int) -> tuple[int, ...]:
        """The parameters of a chunk that have neither a value nor are given up; empty where that is true of
        all of them."""
        partial = self._partial.get(chunk_id)
        return () if partial is None else partial.outstanding_offsets

    def begin_again(self) -> None:
        """The queues that its positions are of are gone, and new ones count from 0: what is recorded is
        before all that comes now, and what is outstanding is to be published again."""
        self._flush()
        for table in ("parts", "extras", "dead_letters"):
            rows = self._db.execute(f"SELECT position FROM {table} ORDER BY position").fetchall()  # noqa: S608
            # In two steps: a new position may be another row's old one.
            moves = [(number - len(rows) - _FAR, position) for number, (position,) in enumerate(rows)]
            self._db.executemany(f"UPDATE {table} SET position = ? WHERE position = ?", moves)  # noqa: S608
            self._db.execute(f"UPDATE {table} SET position = position + ?", (_FAR,))  # noqa: S608
        self._db.execute("UPDATE results SET position = -1")
        self._set_fact("begun_again", 1)
        self.publish_again()
        self.results_position = self.dead_letters_position = -1

    @property
    def has_begun_again(self) -> bool:
        """Whether the queues that there are hold what came last and no more."""
        return bool(self._facts.get("begun_again", 0))

    def publish_again(self) -> None:
        """What is outstanding is to be published again, until :meth:`published_again`."""
        self._set_fact("publish_again", 1)
        self.commit()

    @property
    def is_to_publish_again(self) -> bool:
        """Whether what is outstanding is on no queue, as far as anybody knows."""
        return bool(self._facts.get("publish_again", 0))

    def published_again(self) -> None:
        """All that was outstanding is on the queues."""
        self._set_fact("publish_again", 0)

    def record_reused(self, parameters: int) -> None:
        """All results so far are of earlier runs and so many parameters, and no broker's. Safe from now on,
        together with them: a command that dies before leaves nothing of them."""
        self._set_fact("reused", parameters)
        self.begin_again()

    @property
    def reused(self) -> int | None:
        """How many parameters have the values of earlier runs, None where nobody looked yet."""
        known = self._facts.get("reused")
        return None if known is None else int(known)

    def known_chunks(self) -> bytes:
        """By chunk, 1 where each parameter has a value or is given up."""
        known = bytearray(self._seen)
        for chunk_id in self.dead:
            known[chunk_id] = 1
        return bytes(known)

    def parts_outstanding(self) -> dict[int, tuple[int, ...]]:
        """Of chunks of which some parameters, but not all, are outstanding: these, by offset."""
        found = {chunk_id: partial.outstanding_offsets for chunk_id, partial in self._partial.items()}
        return {chunk_id: offsets for chunk_id, offsets in found.items() if offsets}

    def parameters_missing(self, chunk_ids: Iterable[int]) -> int:
        """How many parameters of these chunks have neither a value nor are given up."""
        missing = 0
        for chunk_id in chunk_ids:
            partial = self._partial.get(chunk_id)
            size = len(self._spec.chunk_range(chunk_id))
            missing += size if partial is None else size - partial.ok - partial.failed
        return missing

    def failed_offsets(self, chunk_id: int) -> Sequence[int]:
        """The parameters of a chunk that are given up and have no value, by offset."""
        partial = self._partial.get(chunk_id)
        return () if partial is None else partial.failed_offsets

    def chunks(self) -> Iterator[ChunkValues]:
        """What there is of every chunk, in order."""
        self._flush()
        return self._values.chunks(self._partial)

    def chunks_by_worker(self) -> dict[str, int]:
        """Accepted results by the worker that gave them, most first."""
        self._flush()
        return self._values.chunks_by_worker()

    def close(self) -> None:
        """Also where the last commit fails, or the file would stay locked for whoever comes next."""
        try:
            self.commit()
        finally:
            self._db.close()


def _count_values(values: msgspec.Raw) -> int:
    try:
        return len(msgspec.json.decode(values, type=list[msgspec.Raw]))
    except msgspec.ValidationError:
        raise _Conflict("its values are no list") from None
