"""One entry a chunk: whatever comes, in whatever order and how often, is accounted for exactly."""

from __future__ import annotations

import sqlite3
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, ParameterError, digest
from ttgctl.core.account.ledger import CONFLICT, DEAD, DROPPED, DUPLICATE, REPLAYED, UNEXPECTED, Ledger
from ttgctl.domain.run import RunSpec

CHUNKS = 6


def spec(chunks: int = CHUNKS) -> RunSpec:
    return RunSpec(
        run_id="r", backend="redis", substrate="local", parameters_total=chunks * 10 - 3, chunk_size=10
    )


def values_of(chunk_id: int, value: int = 1) -> bytes:
    """The same value for each parameter of the chunk."""
    return msgspec.json.encode([value] * (7 if chunk_id == CHUNKS - 1 else 10))


def result(chunk_id: int, value: int = 1, *, values: bytes | None = None, **changes) -> ChunkResult:
    values = values_of(chunk_id, value) if values is None else values
    fields = {
        "run_id": "r", "chunk_id": chunk_id, "worker_id": "w1", "attempt": 1, "redelivered": 0,
        "started_at": 100.0 + chunk_id, "finished_at": 101.0 + chunk_id, "digest": digest(values),
        "values": msgspec.Raw(values),
    }  # fmt: skip
    return ChunkResult(**{**fields, **changes})


def letter(chunk_id: int | None, *, retries: int = 2, run_id: str = "r", cause: str = "failed") -> DeadLetter:
    chunk = (
        None
        if chunk_id is None
        else Chunk(run_id, chunk_id, chunk_id * 10, min(chunk_id * 10 + 10, CHUNKS * 10 - 3), retries=retries)
    )
    return DeadLetter("r", cause, "ValueError", retries + 1, "w1", 5.0, chunk)


def whole_values(ledger: Ledger) -> dict[int, bytes]:
    return {chunk.chunk_id: chunk.values for chunk in ledger.chunks() if chunk.values is not None}


@pytest.fixture
def ledger():
    with closing(Ledger(":memory:", spec())) as ledger:
        yield ledger


class TestResults:
    def test_the_first_counts_and_equal_ones_are_duplicates(self, ledger):
        assert ledger.record_result(Recorded(0, result(2))) is not None
        assert ledger.record_result(Recorded(1, result(2, worker_id="w2"))) is None
        assert ledger.record_result(Recorded(2, result(2))) is None
        assert (ledger.totals.ok, ledger.totals.duplicated, ledger.accounted) == (1, 2, 1)
        assert ledger.extras(DUPLICATE)[0] == (2, "w2", "the first came from w1")

    def test_one_that_differs_from_the_first_is_a_conflict_and_changes_nothing(self, ledger):
        ledger.record_result(Recorded(0, result(2, 1)))
        assert ledger.record_result(Recorded(1, result(2, 2))) is None
        assert (ledger.totals.ok, ledger.totals.conflicting) == (1, 1)
        assert whole_values(ledger)[2] == values_of(2, 1)

    def test_one_that_differs_from_its_own_checksum_is_no_result(self, ledger):
        assert ledger.record_result(Recorded(0, result(2, digest="0" * 32))) is None
        assert not ledger.has_result(2)
        ((chunk_id, worker_id, detail),) = ledger.extras(CONFLICT)
        assert (chunk_id, worker_id) == (2, "w1")
        assert "checksum" in detail
        # The right one may still come.
        assert ledger.record_result(Recorded(1, result(2))) is not None

    def test_one_that_differs_from_what_the_workload_gives_is_no_result(self):
        known = lambda indices: digest(msgspec.json.encode([2] * len(indices)))  # noqa: E731
        with closing(Ledger(":memory:", spec(), expected_digest=known)) as ledger:
            assert ledger.record_result(Recorded(0, result(2, 3))) is None
            assert ledger.record_result(Recorded(1, result(2, 2))) is not None
            assert (ledger.totals.ok, ledger.totals.conflicting) == (1, 1)

    @pytest.mark.parametrize(
        "message",
        [result(CHUNKS), result(-1), result(2, run_id="another"), Unreadable("x", "not JSON")],
        ids=["too large", "negative", "another run", "unreadable"],
    )
    def test_of_no_chunk_of_the_run_are_unexpected(self, ledger, message):
        assert ledger.record_result(Recorded(0, message)) is None
        assert (ledger.totals.ok, ledger.totals.unexpected, ledger.accounted) == (0, 1, 0)
        assert len(ledger.extras(UNEXPECTED)) == 1

    def test_parameters_count_by_the_chunk_and_the_last_one_is_shorter(self, ledger):
        ledger.record_result(Recorded(0, result(0)))
        ledger.record_result(Recorded(1, result(CHUNKS - 1)))
        assert ledger.totals.parameters_ok == 10 + 7

    def test_attempts_tell_redeliveries_from_retries(self, ledger):
        ledger.record_result(Recorded(0, result(0, attempt=4, redelivered=1)))
        assert (ledger.totals.redelivered, ledger.totals.retried) == (1, 2)

    def test_come_out_in_order_with_the_missing_ones(self, ledger):
        for position, chunk_id in enumerate((4, 1)):
            ledger.record_result(Recorded(position, result(chunk_id, chunk_id)))
        assert [chunk.chunk_id for chunk in ledger.chunks()] == list(range(CHUNKS))
        assert whole_values(ledger) == {1: values_of(1, 1), 4: values_of(4, 4)}
        assert ledger.missing(CHUNKS) == [0, 2, 3, 5]
        assert ledger.missing(3) == [0, 2]


class TestDeadLetters:
    def test_give_a_chunk_up(self, ledger):
        assert ledger.record_dead_letter(Recorded(0, letter(3))) is not None
        assert (ledger.accounted, ledger.dead, ledger.totals.retried) == (1, {3}, 2)
        assert ledger.missing(CHUNKS) == [0, 1, 2, 4, 5]

    def test_of_a_chunk_that_has_a_result_gives_nothing_up(self, ledger):
        ledger.record_result(Recorded(0, result(3)))
        ledger.record_dead_letter(Recorded(0, letter(3)))
        assert (ledger.accounted, ledger.dead) == (1, set())

    def test_are_taken_back_by_a_late_result(self, ledger):
        ledger.record_dead_letter(Recorded(0, letter(3)))
        ledger.record_result(Recorded(0, result(3)))
        assert (ledger.accounted, ledger.dead, ledger.totals.ok) == (1, set(), 1)

    @pytest.mark.parametrize(
        "message", [letter(None, cause="malformed"), letter(1, run_id="another"), Unreadable("x", "garbage")]
    )
    def test_of_no_chunk_of_the_run_give_nothing_up(self, ledger, message):
        ledger.record_dead_letter(Recorded(0, message))
        assert (ledger.accounted, ledger.totals.open_dead_letters) == (0, 1)

    @pytest.mark.case("C27")
    @pytest.mark.parametrize(
        ("chunk_id", "start", "stop"), [(999999, 0, 10), (2**62, 0, 10), (3, 0, 10), (3, 30, 10**12)]
    )
    def test_of_a_chunk_that_the_run_has_not_give_nothing_up(self, ledger, chunk_id, start, stop):
        # As no chunk can be made; but what is in a DLQ is what somebody put there.
        chunk = Chunk("r", chunk_id, start, min(stop, start + 10**6))
        ledger.record_dead_letter(Recorded(0, DeadLetter("r", "failed", "no", 1, "w1", 5.0, chunk)))
        ledger.commit()
        assert (ledger.accounted, ledger.dead, ledger.totals.open_dead_letters) == (0, set(), 1)
        assert ledger.missing(CHUNKS) == list(range(CHUNKS))

    def test_replayed_is_outstanding_again_and_dropped_stays_given_up(self, ledger):
        ledger.record_dead_letter(Recorded(0, letter(1)))
        ledger.record_dead_letter(Recorded(1, letter(2)))
        ledger.settle_dead_letters([0], REPLAYED)
        ledger.settle_dead_letters([1], DROPPED)
        assert (ledger.dead, ledger.totals.open_dead_letters) == ({2}, 0)
        assert [state for _, state in ledger.dead_letters()] == [REPLAYED, DROPPED]
        ledger.record_dead_letter(Recorded(2, letter(1)))
        assert ledger.dead == {1, 2}
        assert [state for _, state in ledger.dead_letters()] == [REPLAYED, DROPPED, DEAD]


class TestAsAFile:
    def test_tells_the_next_command_all_of_it_and_takes_nothing_twice(self, tmp_path):
        path = tmp_path / "ledger.sqlite"
        with closing(Ledger(path, spec())) as ledger:
            ledger.record_published(attempted=6, acknowledged=5)
            ledger.saw_delivery(99.5)
            ledger.record_result(Recorded(3, result(0)))
            ledger.record_result(Recorded(7, result(0)))
            ledger.record_dead_letter(Recorded(4, letter(2)))
            checksum, totals = ledger.checksum(), ledger.totals
        with closing(Ledger(path, spec())) as again:
            assert again.totals == totals
            assert again.checksum() == checksum
            assert (again.attempted, again.acknowledged, again.first_delivery_at) == (6, 5, 99.5)
            assert (again.results_position, again.dead_letters_position, again.dead) == (7, 4, {2})
            # The broker tells everything again from the start.
            assert again.record_result(Recorded(3, result(0))) is None
            assert again.record_result(Recorded(7, result(0))) is None
            assert again.record_dead_letter(Recorded(4, letter(2))) is None
            assert again.totals == totals

    def test_loses_what_was_not_committed_and_gets_it_again(self, tmp_path):
        path = tmp_path / "ledger.sqlite"
        dying = Ledger(path, spec())
        dying.record_result(Recorded(0, result(0)))
        dying.commit()
        dying.record_result(Recorded(1, result(1)))
        with closing(Ledger(path, spec())) as again:
            assert (again.totals.ok, again.results_position) == (1, 0)
            assert again.record_result(Recorded(1, result(1))) is not None
        dying._db.close()

    def test_read_by_another_command_keeps_what_its_owner_wrote_since(self, tmp_path):
        path = tmp_path / "ledger.sqlite"
        with closing(Ledger(path, spec())) as owner:
            owner.record_published(attempted=2, acknowledged=1)
            owner.commit()
            reader = Ledger(path, spec())
            owner.record_published(attempted=6, acknowledged=6)
            owner.commit()
            reader.close()
        with closing(Ledger(path, spec())) as again:
            assert again.acknowledged == 6


class TestFacts:
    def test_of_publishing_only_grow(self, ledger):
        ledger.record_published(attempted=5, acknowledged=4)
        ledger.record_published(attempted=3, acknowledged=2)
        assert (ledger.attempted, ledger.acknowledged) == (5, 4)

    def test_the_first_delivery_is_the_earliest(self, ledger):
        assert ledger.first_delivery_at is None
        for at in (5.0, 3.0, 4.0):
            ledger.saw_delivery(at)
        assert ledger.first_delivery_at == 3.0


@given(st.lists(st.tuples(st.integers(0, CHUNKS - 1), st.sampled_from([1, 2]), st.booleans()), max_size=40))
def test_every_message_is_counted_exactly_once(messages):
    with closing(Ledger(":memory:", spec())) as ledger:
        first: dict[int, int] = {}
        given_up: set[int] = set()
        duplicates = conflicts = 0
        for position, (chunk_id, value, is_result) in enumerate(messages):
            if not is_result:
                ledger.record_dead_letter(Recorded(position, letter(chunk_id, retries=0)))
                given_up.add(chunk_id)
                continue
            ledger.record_result(Recorded(position, result(chunk_id, value)))
            if chunk_id not in first:
                first[chunk_id] = value
            elif first[chunk_id] == value:
                duplicates += 1
            else:
                conflicts += 1
        totals = ledger.totals
        assert (totals.ok, totals.duplicated, totals.conflicting) == (len(first), duplicates, conflicts)
        assert ledger.dead == given_up - first.keys()
        assert ledger.accounted == len(first.keys() | given_up)
        assert set(ledger.missing(CHUNKS)) == set(range(CHUNKS)) - first.keys() - given_up
        assert whole_values(ledger) == {chunk_id: values_of(chunk_id, v) for chunk_id, v in first.items()}


@given(st.permutations(range(CHUNKS)))
def test_the_checksum_does_not_depend_on_the_order(order):
    def checksum(ids) -> str:
        with closing(Ledger(":memory:", spec())) as ledger:
            for position, chunk_id in enumerate(ids):
                ledger.record_result(Recorded(position, result(chunk_id, chunk_id)))
            return ledger.checksum()

    assert checksum(order) == checksum(range(CHUNKS))


def test_a_million_chunks_need_little_memory(tmp_path):
    """A part of them, for the test's own sake: beyond what is not committed yet, a byte each."""
    chunks = 20_000
    large = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=chunks, chunk_size=1)
    tracemalloc.start()
    with closing(Ledger(tmp_path / "ledger.sqlite", large)) as ledger:
        for position in range(chunks):
            ledger.record_result(Recorded(position, result(position, values=b"[1]")))
            if position % 1000 == 0:
                ledger.commit()
        assert ledger.accounted == chunks
        _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_500_000


def part(chunk_id: int, values: dict[int, int], **changes) -> ChunkResult:
    """A result of some parameters, by offset."""
    array = msgspec.json.encode(list(values.values()))
    return result(chunk_id, values=array, offsets=tuple(values), **changes)


def part_letter(chunk_id: int, offsets: tuple[int, ...], *, retries: int = 2) -> DeadLetter:
    chunk = Chunk("r", chunk_id, chunk_id * 10, min(chunk_id * 10 + 10, CHUNKS * 10 - 3), offsets=offsets)
    chunk = msgspec.structs.replace(chunk, retries=retries)
    error = ParameterError(offsets, "ValueError", "ValueError: no")
    return DeadLetter("r", "failed", "no", retries + 1, "w1", 5.0, chunk, errors=(error,))


class TestParts:
    def test_become_a_whole_chunk(self, ledger):
        ledger.record_result(Recorded(0, part(2, {offset: offset for offset in range(5)})))
        assert (ledger.totals.ok, ledger.totals.parameters_ok, ledger.has_result(2)) == (0, 5, False)
        ledger.record_result(
            Recorded(1, part(2, {o: o for o in range(5, 10)}, attempt=3, seconds=(0.5,) * 5))
        )
        assert (ledger.totals.ok, ledger.totals.parameters_ok, ledger.totals.retried) == (1, 10, 2)
        assert whole_values(ledger) == {2: msgspec.json.encode(list(range(10)))}
        (chunk,) = [chunk for chunk in ledger.chunks() if chunk.chunk_id == 2]
        assert list(chunk.seconds) == [0.0] * 5 + [0.5] * 5
        # As if it had come in one piece.
        assert (
            ledger.record_result(Recorded(2, result(2, values=msgspec.json.encode(list(range(10)))))) is None
        )
        assert (ledger.totals.duplicated, ledger.totals.conflicting, ledger.totals.messages) == (1, 0, 3)

    def test_the_first_value_of_a_parameter_wins(self, ledger):
        ledger.record_result(Recorded(0, part(2, {1: 1, 3: 3})))
        assert ledger.record_result(Recorded(1, part(2, {1: 1, 3: 3}))) is None
        assert ledger.record_result(Recorded(2, part(2, {3: 9, 4: 4}))) is None
        assert (ledger.totals.duplicated, ledger.totals.conflicting, ledger.totals.parameters_ok) == (1, 1, 2)
        ((_, _, detail),) = ledger.extras(CONFLICT)
        assert detail == "the value of parameter 23 differs from the one of w1"
        # What is new beside what is known is taken.
        assert ledger.record_result(Recorded(3, part(2, {3: 3, 4: 4}))) is not None
        assert ledger.totals.parameters_ok == 3

    def test_a_whole_result_fills_what_is_missing(self, ledger):
        ledger.record_result(Recorded(0, part(2, {1: 1, 3: 1})))
        assert ledger.record_result(Recorded(1, result(2))) is not None
        assert (ledger.totals.ok, ledger.totals.parameters_ok, ledger.totals.duplicated) == (1, 10, 0)
        assert whole_values(ledger) == {2: values_of(2)}

    def test_of_a_whole_chunk_are_duplicates_or_conflicts(self, ledger):
        ledger.record_result(Recorded(0, result(2)))
        assert ledger.record_result(Recorded(1, part(2, {1: 1, 3: 1}))) is None
        assert ledger.record_result(Recorded(2, part(2, {1: 1, 3: 2}))) is None
        assert (ledger.totals.duplicated, ledger.totals.conflicting) == (1, 1)

    def test_a_chunk_with_values_and_failures_for_all_is_accounted_for(self, ledger):
        ledger.record_result(Recorded(0, part(2, dict.fromkeys(range(8), 1))))
        assert (ledger.accounted, ledger.outstanding_offsets(2)) == (0, (8, 9))
        ledger.record_dead_letter(Recorded(0, part_letter(2, (8,))))
        assert (ledger.accounted, ledger.parameters_missing([2])) == (0, 1)
        ledger.record_dead_letter(Recorded(1, part_letter(2, (9,))))
        assert (ledger.accounted, ledger.dead, ledger.failed_offsets(2)) == (1, {2}, [8, 9])
        assert (ledger.totals.parameters_ok, ledger.totals.parameters_failed) == (8, 2)
        # A value beats having been given up.
        ledger.record_result(Recorded(1, part(2, {8: 1})))
        assert (ledger.accounted, ledger.dead, ledger.totals.parameters_failed) == (1, {2}, 1)
        ledger.record_result(Recorded(2, part(2, {9: 1})))
        assert (ledger.accounted, ledger.dead, ledger.totals.ok) == (1, set(), 1)
        assert (ledger.totals.parameters_ok, ledger.totals.parameters_failed) == (10, 0)

    @pytest.mark.case("C26")
    @pytest.mark.parametrize(
        "message",
        [
            result(2, values=b"[1,2]"),
            result(2, values=b"[" + b"1," * 10 + b"1]"),
            result(2, values=b'{"a":1}'),
            part(2, {1: 1, 10: 1}),
            part(2, {3: 1, 1: 1}),
            result(2, values=b"[1]", offsets=(1, 2)),
            part(2, {1: 1}, seconds=(1.0, 2.0)),
        ],
    )
    def test_of_other_than_their_parameters_are_conflicts(self, ledger, message):
        assert ledger.record_result(Recorded(0, message)) is None
        assert (ledger.totals.conflicting, ledger.totals.parameters_ok, ledger.accounted) == (1, 0, 0)
        # What is right may still come.
        assert ledger.record_result(Recorded(1, result(2))) is not None

    def test_say_what_is_known_of_a_chunk_that_is_not_whole(self, ledger):
        ledger.record_result(Recorded(0, part(2, {3: 30}, attempt=2)))
        ledger.record_result(Recorded(1, part(2, {1: 10})))
        (chunk,) = [chunk for chunk in ledger.chunks() if chunk.chunk_id == 2]
        assert (chunk.values, list(chunk.offsets), list(chunk.attempts)) == (b"[10,30]", [1, 3], [1, 2])


class TestNewQueues:
    def test_count_from_the_start_and_what_is_outstanding_is_published_again(self, tmp_path):
        path = tmp_path / "ledger.sqlite"
        with closing(Ledger(path, spec())) as ledger:
            ledger.record_published(attempted=6, acknowledged=6)
            ledger.record_result(Recorded(7, result(0)))
            ledger.record_result(Recorded(8, result(0)))
            ledger.record_result(Recorded(9, part(1, {3: 1})))
            ledger.record_dead_letter(Recorded(5, letter(2)))
            ledger.record_dead_letter(Recorded(6, part_letter(1, (4,))))
            before = ledger.totals
            ledger.begin_again()
            assert (ledger.results_position, ledger.dead_letters_position) == (-1, -1)
        with closing(Ledger(path, spec())) as again:
            assert again.totals == before
            assert again.is_to_publish_again
            assert (again.results_position, again.dead_letters_position) == (-1, -1)
            assert [letter.position for letter, _ in again.dead_letters()] == [-2, -1]
            assert again.missing(6) == [1, 3, 4, 5]
            assert again.outstanding_offsets(1) == (0, 1, 2, 5, 6, 7, 8, 9)
            assert again.outstanding_offsets(3) == ()
            assert again.record_result(Recorded(0, result(3))) is not None
            again.begin_again()
            again.published_again()
            assert not again.is_to_publish_again
            assert len(list(again.dead_letters())) == 2


def test_a_file_of_before_there_were_parts_is_read(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            """
            CREATE TABLE results (
              chunk_id INTEGER PRIMARY KEY, position INTEGER NOT NULL, digest TEXT NOT NULL,
              vals BLOB NOT NULL, worker_id TEXT NOT NULL, attempt INTEGER NOT NULL,
              redelivered INTEGER NOT NULL, started_at REAL NOT NULL, finished_at REAL NOT NULL
            );
            CREATE TABLE extras (
              position INTEGER PRIMARY KEY, kind TEXT NOT NULL, chunk_id INTEGER, worker_id TEXT,
              detail TEXT NOT NULL
            );
            CREATE TABLE dead_letters (
              position INTEGER PRIMARY KEY, chunk_id INTEGER, cause TEXT NOT NULL, retries INTEGER NOT NULL,
              letter BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'dead'
            );
            CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
            """
        )
        values = values_of(1)
        db.execute("INSERT INTO results VALUES (1, 5, ?, ?, 'w1', 2, 0, 1.0, 2.0)", (digest(values), values))
        old = b'{"run_id":"r","cause":"failed","detail":"no","attempt":3,"worker_id":"w1","at":5.0,"chunk":'
        old += b'{"run_id":"r","chunk_id":2,"start":20,"stop":30,"retries":2},"body":""}'
        db.execute("INSERT INTO dead_letters VALUES (4, 2, 'failed', 2, ?, 'dead')", (old,))
        db.commit()
    with closing(Ledger(path, spec())) as ledger:
        assert (ledger.totals.ok, ledger.totals.parameters_ok, ledger.totals.parameters_failed) == (1, 10, 10)
        assert (ledger.dead, ledger.results_position, ledger.totals.retried) == ({2}, 5, 3)
        assert whole_values(ledger) == {1: values}
        assert ledger.record_result(Recorded(6, part(2, {0: 1}))) is not None


offsets_of_ten = st.sets(st.integers(0, 9), min_size=1).map(lambda found: tuple(sorted(found)))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["part", "whole", "letter", "reopen"]),
            st.integers(0, 1),
            offsets_of_ten,
            st.sampled_from([1, 1, 1, 2]),
        ),
        max_size=25,
    )
)
def test_every_parameter_is_counted_once_whatever_comes_and_however_often_it_is_reopened(steps):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger = Ledger(path, spec())
        first: dict[tuple[int, int], int] = {}
        given_up: set[tuple[int, int]] = set()
        for position, (what, chunk_id, offsets, value) in enumerate(steps):
            if what == "reopen":
                before = ledger.totals
                ledger.close()
                ledger = Ledger(path, spec())
                assert ledger.totals == before
                continue
            if what == "letter":
                ledger.record_dead_letter(Recorded(position, part_letter(chunk_id, offsets)))
                given_up |= {(chunk_id, offset) for offset in offsets}
                continue
            offsets = offsets if what == "part" else tuple(range(10))
            sent = part(chunk_id, dict.fromkeys(offsets, value))
            if what == "whole":
                sent = result(chunk_id, value)
            ledger.record_result(Recorded(position, sent))
            if all(first.get((chunk_id, offset), value) == value for offset in offsets):
                for offset in offsets:
                    first.setdefault((chunk_id, offset), value)
        failed = given_up - first.keys()
        totals = ledger.totals
        assert (totals.parameters_ok, totals.parameters_failed) == (len(first), len(failed))
        for chunk_id in (0, 1):
            known = {o for c, o in first if c == chunk_id}
            bad = {o for c, o in failed if c == chunk_id}
            assert ledger.has_result(chunk_id) == (len(known) == 10)
            assert (chunk_id in ledger.dead) == (bool(bad) and len(known | bad) == 10)
            (chunk,) = [chunk for chunk in ledger.chunks() if chunk.chunk_id == chunk_id]
            values = [] if chunk.values is None else msgspec.json.decode(chunk.values)
            assert dict(zip(chunk.offsets, values, strict=True)) == {o: first[chunk_id, o] for o in known}
        ledger.close()
