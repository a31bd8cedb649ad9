"""One entry a chunk: whatever comes, in whatever order and how often, is accounted for exactly."""

from __future__ import annotations

import tracemalloc
from contextlib import closing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, digest
from ttgctl.core.account.ledger import CONFLICT, DEAD, DROPPED, DUPLICATE, REPLAYED, UNEXPECTED, Ledger
from ttgctl.domain.run import RunSpec

CHUNKS = 6


def spec(chunks: int = CHUNKS) -> RunSpec:
    return RunSpec(
        run_id="r", backend="redis", substrate="local", parameters_total=chunks * 10 - 3, chunk_size=10
    )


def result(chunk_id: int, values: bytes = b"[1]", **changes) -> ChunkResult:
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
        ledger.record_result(Recorded(0, result(2, b"[1]")))
        assert ledger.record_result(Recorded(1, result(2, b"[2]"))) is None
        assert (ledger.totals.ok, ledger.totals.conflicting) == (1, 1)
        assert dict(ledger.values())[2] == b"[1]"

    def test_one_that_differs_from_its_own_checksum_is_no_result(self, ledger):
        assert ledger.record_result(Recorded(0, result(2, digest="0" * 32))) is None
        assert not ledger.has_result(2)
        ((chunk_id, worker_id, detail),) = ledger.extras(CONFLICT)
        assert (chunk_id, worker_id) == (2, "w1")
        assert "checksum" in detail
        # The right one may still come.
        assert ledger.record_result(Recorded(1, result(2))) is not None

    def test_one_that_differs_from_what_the_workload_gives_is_no_result(self):
        with closing(Ledger(":memory:", spec(), expected_digest=lambda c: digest(b"[%d]" % c))) as ledger:
            assert ledger.record_result(Recorded(0, result(2, b"[3]"))) is None
            assert ledger.record_result(Recorded(1, result(2, b"[2]"))) is not None
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
            ledger.record_result(Recorded(position, result(chunk_id, b"[%d]" % chunk_id)))
        assert [v for _, v in ledger.values()] == [None, b"[1]", None, None, b"[4]", None]
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
        chunk = Chunk("r", chunk_id, start, stop)
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


@given(
    st.lists(
        st.tuples(st.integers(0, CHUNKS - 1), st.sampled_from([b"[1]", b"[2]"]), st.booleans()), max_size=40
    )
)
def test_every_message_is_counted_exactly_once(messages):
    with closing(Ledger(":memory:", spec())) as ledger:
        first: dict[int, bytes] = {}
        given_up: set[int] = set()
        duplicates = conflicts = 0
        for position, (chunk_id, values, is_result) in enumerate(messages):
            if not is_result:
                ledger.record_dead_letter(Recorded(position, letter(chunk_id, retries=0)))
                given_up.add(chunk_id)
                continue
            ledger.record_result(Recorded(position, result(chunk_id, values)))
            if chunk_id not in first:
                first[chunk_id] = values
            elif first[chunk_id] == values:
                duplicates += 1
            else:
                conflicts += 1
        totals = ledger.totals
        assert (totals.ok, totals.duplicated, totals.conflicting) == (len(first), duplicates, conflicts)
        assert ledger.dead == given_up - first.keys()
        assert ledger.accounted == len(first.keys() | given_up)
        assert set(ledger.missing(CHUNKS)) == set(range(CHUNKS)) - first.keys() - given_up
        assert {c: v for c, v in ledger.values() if v is not None} == first


@given(st.permutations(range(CHUNKS)))
def test_the_checksum_does_not_depend_on_the_order(order):
    def checksum(ids) -> str:
        with closing(Ledger(":memory:", spec())) as ledger:
            for position, chunk_id in enumerate(ids):
                ledger.record_result(Recorded(position, result(chunk_id, b"[%d]" % chunk_id)))
            return ledger.checksum()

    assert checksum(order) == checksum(range(CHUNKS))


def test_a_million_chunks_need_little_memory(tmp_path):
    """A part of them, for the test's own sake: beyond what is not committed yet, a byte each."""
    chunks = 20_000
    large = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=chunks, chunk_size=1)
    tracemalloc.start()
    with closing(Ledger(tmp_path / "ledger.sqlite", large)) as ledger:
        for position in range(chunks):
            ledger.record_result(Recorded(position, result(position)))
            if position % 1000 == 0:
                ledger.commit()
        assert ledger.accounted == chunks
        _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_500_000
