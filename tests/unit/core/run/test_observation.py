"""Snapshots: every figure from one place, and none from a queue's length that the ledger knows better."""

from __future__ import annotations

from contextlib import closing

import msgspec
import pytest

from ttg_worker.brokers.base import QueueCounts, Recorded
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, Heartbeat, digest
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.ports import WorkerStatus
from ttgctl.core.run.observation import Observation
from ttgctl.core.run.rate import Rate
from ttgctl.domain.run import RunSpec

SPEC = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=100, chunk_size=10)
QUEUES = QueueCounts(tasks=7, in_flight=2, retry=1, dead=0, results=3)


def heartbeat(
    worker_id: str = "w1", *, at: float, chunk_id: int | None = 3, done: int = 0, state: str = "busy"
):
    return Heartbeat(
        "r", worker_id, state, chunk_id, () if chunk_id is None else (chunk_id,), done, 0, 1.0, at
    )


def status(worker_id: str = "w1", *, running: bool = True) -> WorkerStatus:
    return WorkerStatus(worker_id=worker_id, uid=f"{worker_id}@1", running=running, node="n1")


@pytest.fixture
def ledger():
    with closing(Ledger(":memory:", SPEC)) as ledger:
        yield ledger


@pytest.fixture
def heartbeats():
    return {}


@pytest.fixture
def observation(ledger, heartbeats):
    return Observation(SPEC, ledger, heartbeats)


def record(ledger, position: int, chunk_id: int) -> None:
    values = msgspec.json.encode([1] * 10)
    result = ChunkResult("r", chunk_id, "w1", 1, 0, 100.0, 101.0, digest(values), msgspec.Raw(values))
    ledger.record_result(Recorded(position, result))


def snapshot(observation, *, now: float = 110.0, queues: QueueCounts = QUEUES, workers=()):
    return observation.snapshot(now=now, queues=queues, broker_state="ok", workers=workers)


def test_progress_is_distinct_chunks_with_a_result_or_given_up(observation, ledger):
    ledger.record_published(attempted=10, acknowledged=9)
    for position, chunk_id in enumerate((0, 0, 5)):
        record(ledger, position, chunk_id)
    dead = DeadLetter("r", "failed", "x", 3, "w", 1.0, Chunk("r", 7, 70, 80))
    ledger.record_dead_letter(Recorded(0, dead))
    seen = snapshot(observation)
    assert (seen.accounted, seen.dead_lettered, seen.duplicated, seen.published) == (3, 1, 1, 9)
    assert (seen.parameters_done, seen.parameters_total, seen.chunks_total) == (20, 100, 10)
    assert seen.fraction == 0.3


def test_time_runs_from_the_first_delivery(observation, ledger):
    assert snapshot(observation).elapsed_seconds == 0
    ledger.saw_delivery(104.0)
    assert snapshot(observation, now=110.0).elapsed_seconds == 6.0
    ledger.saw_delivery(103.0)
    assert snapshot(observation, now=110.0).elapsed_seconds == 7.0


def test_rate_and_eta_come_with_progress(observation, ledger):
    ledger.saw_delivery(100.0)
    assert snapshot(observation, now=100.0).eta_seconds is None
    assert snapshot(observation, now=100.5).chunks_per_second == 0.0
    for chunk_id in range(4):
        record(ledger, chunk_id, chunk_id)
    seen = snapshot(observation, now=102.0)
    assert (seen.chunks_per_second, seen.parameters_per_second, seen.eta_seconds) == (2.0, 20.0, 3.0)


@pytest.mark.case("C37")
def test_chunks_that_take_long_have_an_eta_from_the_first_result_on(observation, ledger):
    ledger.saw_delivery(100.0)
    assert snapshot(observation, now=100.0).eta_seconds is None
    for chunk_id in range(3):
        record(ledger, chunk_id, chunk_id)
    # Seven chunks are left, and a third of a chunk a second was done, long ago by the windows of rates.
    assert snapshot(observation, now=109.0).eta_seconds == 21.0
    assert snapshot(observation, now=112.0).eta_seconds == 28.0


def test_what_a_stream_can_not_count_the_ledger_does(observation, ledger):
    ledger.record_published(attempted=10, acknowledged=10)
    for position, chunk_id in enumerate((0, 1, 1)):
        record(ledger, position, chunk_id)
    seen = snapshot(
        observation, queues=QueueCounts(tasks=5, in_flight=None, retry=1, dead=None, results=None)
    )
    assert seen.queues == QueueCounts(tasks=5, in_flight=2, retry=1, dead=0, results=3)


class TestWorkers:
    def test_before_its_first_heartbeat_is_starting(self, observation):
        (row,) = snapshot(observation, workers=[status()]).workers
        assert (row.state, row.last_seen_seconds, row.node) == ("starting", None, "n1")

    def test_shows_its_newest_heartbeat(self, observation, heartbeats):
        heartbeats["w1"] = heartbeat(at=109.0, chunk_id=4, done=2)
        (row,) = snapshot(observation, workers=[status()]).workers
        assert (row.state, row.chunk_id, row.done, row.last_seen_seconds) == ("busy", 4, 2, 1.0)

    def test_that_says_nothing_is_silent_and_one_that_ended_has_ended(self, observation, heartbeats):
        heartbeats |= {"w1": heartbeat(at=100.0), "w2": heartbeat("w2", at=109.9)}
        rows = snapshot(observation, workers=[status(), status("w2", running=False)]).workers
        assert [row.state for row in rows] == ["silent", "ended"]

    def test_rate_is_its_own(self, observation, heartbeats):
        for at, done in ((100.0, 0), (102.0, 6)):
            heartbeats["w1"] = heartbeat(at=at, done=done)
            rows = snapshot(observation, now=at, workers=[status()]).workers
        assert rows[0].chunks_per_second == 3.0


def test_a_rate_is_of_the_last_seconds_only():
    rate = Rate(window_seconds=5.0)
    assert rate.per_second() == 0.0
    for at, count in ((0.0, 0), (1.0, 100), (10.0, 100), (15.0, 100)):
        rate.add(at, count)
    assert rate.per_second() == 0.0
    rate.add(16.0, 112)
    assert rate.per_second() == 2.0
