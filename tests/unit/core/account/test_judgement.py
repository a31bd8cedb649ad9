"""From ledger to verdict: each word of the account, and what makes a run lossless."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import msgspec
import pytest

from ttg_worker.brokers.base import QueueCounts, Recorded
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, digest
from ttgctl.core.account.judgement import expected_checksum, expected_digest, judge
from ttgctl.core.account.ledger import Ledger
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode, FaultRecord

SPEC = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=4, chunk_size=1)
EMPTY = QueueCounts(tasks=0, in_flight=0, retry=0, dead=None, results=None)


def result(chunk_id: int, *, values: bytes | None = None, at: float = 10.0, **changes) -> ChunkResult:
    values = b"[%d]" % synthetic_value(0, chunk_id) if values is None else values
    fields = {
        "run_id": "r", "chunk_id": chunk_id, "worker_id": "w", "attempt": 1, "redelivered": 0,
        "started_at": at, "finished_at": at + 1, "digest": digest(values), "values": msgspec.Raw(values),
    }  # fmt: skip
    return ChunkResult(**{**fields, **changes})


def dead(chunk_id: int, *, cause: str = "failed") -> DeadLetter:
    return DeadLetter("r", cause, "no", 3, "w", 1.0, Chunk("r", chunk_id, chunk_id, chunk_id + 1, retries=2))


@pytest.fixture
def ledger():
    known = lambda indices: expected_digest(SPEC, indices)  # noqa: E731
    with closing(Ledger(":memory:", SPEC, expected_digest=known)) as ledger:
        ledger.record_published(attempted=4, acknowledged=4)
        ledger.saw_delivery(10.0)
        yield ledger


def record(ledger: Ledger, *results: ChunkResult) -> None:
    for position, each in enumerate(results, start=ledger.results_position + 1):
        ledger.record_result(Recorded(position, each))


def test_all_there_once_is_lossless(ledger):
    record(ledger, *(result(c, at=10.0 + c) for c in range(4)))
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert (verdict.lossless, verdict.complete, verdict.exit_code) == (True, True, ExitCode.LOSSLESS)
    assert verdict.checksum == verdict.checksum_expected == expected_checksum(SPEC)
    assert (verdict.seconds, verdict.parameters.ok, verdict.parameters_per_second) == (4.0, 4, 1.0)
    assert verdict.queues_after == {
        "ttg.tasks": 0,
        "ttg.results": 4,
        "ttg.tasks.retry": 0,
        "ttg.tasks.dlq": 0,
    }
    assert verdict.recovery is None


def test_duplicates_and_redeliveries_do_no_harm(ledger):
    record(ledger, *(result(c) for c in range(4)), result(1), result(1), result(2))
    record(ledger, result(3, redelivered=1, attempt=2))
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert verdict.lossless
    assert (verdict.chunks.duplicated, verdict.chunks.recovered) == (4, 0)
    assert verdict.queues_after["ttg.results"] == 8


def test_recovered_are_the_redelivered_and_those_whose_publish_was_never_confirmed():
    with closing(Ledger(":memory:", SPEC)) as ledger:
        ledger.record_published(attempted=4, acknowledged=2)
        record(ledger, result(0, attempt=2, redelivered=1), *(result(c) for c in (1, 2, 3)))
        account = judge(ledger, SPEC, queues=EMPTY).chunks
        assert (account.attempted, account.acknowledged, account.ok, account.recovered) == (4, 2, 4, 3)


def test_missing_is_lost_when_it_was_acknowledged_and_the_run_is_over(ledger):
    record(ledger, result(0), result(2))
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert (verdict.lost_chunks, verdict.chunks.lost) == ((1, 3), 2)
    assert (verdict.lossless, verdict.complete, verdict.exit_code) == (False, False, ExitCode.LOSS)
    assert verdict.checksum is None


def test_missing_is_outstanding_while_the_run_is_not_over(ledger):
    record(ledger, result(0), result(2))
    verdict = judge(ledger, SPEC, queues=EMPTY, finished=False)
    assert (verdict.lost_chunks, verdict.exit_code) == ((), ExitCode.TIMED_OUT)
    assert "2 chunks are outstanding" in verdict.notes[0]
    assert "ttgctl resume r" in verdict.notes[0]


def test_given_up_is_complete_and_not_lossless(ledger):
    record(ledger, *(result(c) for c in range(3)))
    ledger.record_dead_letter(Recorded(0, dead(3)))
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert (verdict.complete, verdict.lossless, verdict.exit_code) == (True, False, ExitCode.DEAD_LETTERS)
    assert (verdict.dead_lettered_chunks, verdict.dead_letter_causes) == ((3,), {"failed": 1})
    assert (verdict.chunks.retried, verdict.queues_after["ttg.tasks.dlq"]) == (2, 1)


def test_foreign_messages_in_the_dlq_are_shown_and_cost_the_run_nothing(ledger):
    record(ledger, *(result(c) for c in range(4)))
    ledger.record_dead_letter(
        Recorded(0, DeadLetter("r", "malformed", "not a chunk", 1, "w", 1.0, None, "x"))
    )
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert (verdict.lossless, verdict.exit_code) == (True, ExitCode.LOSSLESS)
    assert verdict.dead_letter_causes == {"malformed": 1}
    assert verdict.chunks.dead_lettered == 0


def test_a_wrong_result_is_a_conflict_even_if_the_right_one_came_first(ledger):
    record(ledger, *(result(c) for c in range(4)), result(2, values=b"[0]"))
    verdict = judge(ledger, SPEC, queues=EMPTY)
    assert (verdict.conflicting_chunks, verdict.lossless) == ((2,), False)
    assert verdict.exit_code is ExitCode.LOSS


def test_of_a_workload_nobody_knows_the_checksum_is_told_and_not_compared():
    own = RunSpec(
        run_id="r", backend="redis", substrate="local", parameters_total=1, chunk_size=1, workload="work.py:f"
    )
    with closing(Ledger(":memory:", own)) as ledger:
        ledger.record_published(attempted=1, acknowledged=1)
        record(ledger, result(0, values=b'["anything"]'))
        verdict = judge(ledger, own, queues=EMPTY)
    assert verdict.lossless
    assert verdict.checksum is not None
    assert verdict.checksum_expected is None


def test_a_fault_that_hit_nothing_is_unmet_where_an_effect_is_required(ledger):
    record(ledger, *(result(c) for c in range(4)))
    hit = FaultRecord(fault_id=1, kind="kill-worker", victim="w", at_seconds=1.0, effect="uid changed")
    missed = FaultRecord(fault_id=2, kind="partition", victim=None, at_seconds=2.0)
    idle = FaultRecord(fault_id=3, kind="partition", victim="w", at_seconds=2.0, method="NetworkPolicy")
    required = RunSpec(
        run_id="r", backend="redis", substrate="local", parameters_total=4, chunk_size=1, require_effect=True
    )
    assert judge(ledger, SPEC, queues=EMPTY, faults=[hit, missed]).unmet == ()
    verdict = judge(ledger, required, queues=EMPTY, faults=[hit, missed, idle])
    assert verdict.unmet == ("partition (fault 2) hit nothing", "partition (fault 3) showed no effect")
    assert (verdict.lossless, verdict.exit_code) == (True, ExitCode.SUBSTRATE)


@pytest.mark.parametrize(
    ("waits", "p50", "most"), [([0.5], 0.5, 0.5), ([0.1, 0.3], 0.2, 0.3), ([3.0, 1.0, 2.0], 2.0, 3.0)]
)
def test_recovery_is_told_by_its_middle_and_its_worst(ledger, waits, p50, most):
    recovery = judge(ledger, SPEC, queues=EMPTY, waits=waits).recovery
    assert (recovery.p50_seconds, recovery.max_seconds) == (p50, most)
    assert p50 <= recovery.p99_seconds <= most


def test_counts_of_the_broker_go_before_those_of_the_ledger(ledger):
    record(ledger, result(0))
    queues = QueueCounts(tasks=2, in_flight=1, retry=3, dead=4, results=5)
    assert list(judge(ledger, SPEC, queues=queues).queues_after.values()) == [2, 5, 3, 4]


def test_a_negative_control_that_lost_nothing_is_no_success():
    control = replace(SPEC, unsafe_ack_early=True)
    with closing(Ledger(":memory:", control)) as ledger:
        ledger.record_published(attempted=4, acknowledged=4)
        record(ledger, *(result(c) for c in range(4)))
        verdict = judge(ledger, control, queues=EMPTY)
    assert verdict.exit_code is ExitCode.SUBSTRATE
    assert "negative control lost nothing" in verdict.unmet[0]


@pytest.mark.case("C36")
def test_a_conflict_weighs_more_than_what_is_outstanding(ledger):
    record(ledger, result(0), result(1, digest="0" * 32))
    verdict = judge(ledger, SPEC, queues=EMPTY, finished=False)
    assert not verdict.complete
    assert verdict.exit_code is ExitCode.LOSS
