"""The worker's loop, in a thread on a broker in memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from support.fake_compute import FakeCompute
from support.memory_broker import MemoryBroker
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.settings import WorkerSettings
from ttg_worker.wire import Chunk
from ttg_worker.worker import PREFETCH_MOST, Worker

OPTIONS = DeliveryOptions(max_attempts=3, retry_delay_seconds=0.05, lease_seconds=0.3)


class Stage:
    def __init__(self) -> None:
        self.broker = MemoryBroker.at(f"memory://{uuid.uuid4().hex}", options=OPTIONS)
        self.broker.declare("r")
        self._running: list[tuple[Worker, threading.Thread]] = []

    def publish(self, chunks: int) -> None:
        sent = (Chunk("r", i, i * 2, i * 2 + 2) for i in range(chunks))
        assert list(self.broker.publisher("r").publish(sent))[-1] == chunks

    def worker(self, function, worker_id: str = "w1", **settings) -> Worker:
        given = WorkerSettings(
            broker_url="memory://x", run_id="r", worker_id=worker_id, delivery=OPTIONS, **settings
        )
        worker = Worker(given, broker=self.broker, compute=FakeCompute(function))
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self._running.append((worker, thread))
        return worker

    def results(self) -> list:
        return [r.message for r in iter(self.broker.observer("r").results().__next__, None)]

    def letters(self) -> list:
        return [r.message for r in iter(self.broker.observer("r").dead_letters().__next__, None)]

    def heartbeats(self) -> dict:
        return {heartbeat.worker_id: heartbeat for heartbeat in self.broker.observer("r").heartbeats()}

    def close(self) -> None:
        for worker, _ in self._running:
            worker.stop()
        for _, thread in self._running:
            thread.join(timeout=20)
            assert not thread.is_alive()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def doubled(chunk: Chunk) -> list[int]:
    return [index * 2 for index in range(chunk.start, chunk.stop)]


def test_computes_every_chunk_and_says_when_and_who(stage, until):
    stage.publish(5)
    before = time.time()
    stage.worker(doubled)
    until(lambda: len(stage.results()) == 5, within_seconds=20)
    results = stage.results()
    assert [bytes(r.values) for r in results] == [b"[0,2]", b"[4,6]", b"[8,10]", b"[12,14]", b"[16,18]"]
    assert {(r.run_id, r.worker_id, r.attempt, r.redelivered) for r in results} == {("r", "w1", 1, 0)}
    assert all(before <= r.started_at <= r.finished_at <= time.time() for r in results)
    until(lambda: stage.heartbeats()["w1"].done == 5, within_seconds=20)


def test_waits_for_a_run_that_is_not_there_yet(until):
    stage = Stage()
    stage.broker.drop("r")
    stage.worker(doubled)
    stage.broker.declare("r")
    stage.publish(1)
    until(lambda: len(stage.results()) == 1, within_seconds=20)
    stage.close()


def test_what_fails_is_tried_again_and_its_history_kept(stage, until):
    failures = iter([ValueError("first"), KeyError("second")])

    def function(chunk):
        for error in failures:
            raise error
        return doubled(chunk)

    stage.publish(1)
    stage.worker(function)
    until(stage.results, within_seconds=20)
    (result,) = stage.results()
    assert (result.attempt, result.redelivered) == (3, 0)
    assert stage.letters() == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), RecursionError("deep")])
def test_what_fails_each_time_is_given_up_with_its_traceback_and_the_rest_goes_on(stage, until, error):
    def function(chunk):
        if chunk.chunk_id == 1:
            raise type(error)(*error.args)
        return doubled(chunk)

    stage.publish(3)
    stage.worker(function)
    until(lambda: stage.letters() and len(stage.results()) == 2, within_seconds=20)
    (letter,) = stage.letters()
    assert (letter.cause, letter.chunk.chunk_id, letter.attempt) == ("failed", 1, 3)
    (told,) = letter.errors
    assert (told.offsets, told.kind) == ((0, 1), type(error).__name__)
    assert f"{type(error).__name__}: {error}" in told.text
    assert f"{type(error).__name__}: {error}" in letter.detail
    assert [failure.attempt for failure in letter.chunk.history] == [1, 2]
    until(lambda: stage.heartbeats()["w1"].failed == 3, within_seconds=20)


@pytest.mark.parametrize("values", [[1], [1, 2, 3], [object(), 1]])
def test_values_that_are_none_are_a_failure_and_no_result(stage, until, values):
    stage.publish(1)
    stage.worker(lambda chunk: values)
    until(stage.letters, within_seconds=20)
    assert stage.results() == []
    assert stage.letters()[0].errors[0].kind == "value"


def test_stopped_it_finishes_the_chunk_in_hand_and_gives_the_rest_back(stage, until):
    inside, go_on = threading.Event(), threading.Event()

    def function(chunk):
        inside.set()
        assert go_on.wait(20)
        return doubled(chunk)

    stage.publish(4)
    worker = stage.worker(function)
    assert inside.wait(20)
    worker.stop()
    go_on.set()
    until(lambda: stage.heartbeats()["w1"].state == "stopping", within_seconds=20)
    until(lambda: stage.broker.counts("r").in_flight == 0, within_seconds=20)
    assert (len(stage.results()), stage.broker.counts("r").tasks) == (1, 3)


def test_tells_the_chunk_in_hand_while_it_computes(stage, until):
    go_on = threading.Event()
    stage.publish(1)
    stage.worker(lambda chunk: doubled(chunk) if go_on.wait(20) else [])
    until(lambda: "w1" in stage.heartbeats() and stage.heartbeats()["w1"].state == "busy", within_seconds=20)
    heartbeat = stage.heartbeats()["w1"]
    assert (heartbeat.chunk_id, heartbeat.held, heartbeat.done) == (0, (0,), 0)
    # Also a long chunk does not look dead.
    until(lambda: stage.heartbeats()["w1"].at > heartbeat.at, within_seconds=20)
    go_on.set()
    until(lambda: stage.heartbeats()["w1"].state == "idle", within_seconds=20)
    assert stage.heartbeats()["w1"].held == ()


@pytest.mark.parametrize(("seconds", "wanted"), [(0.0, PREFETCH_MOST), (0.4, 1), (0.05, 5)])
def test_keeps_as_many_chunks_at_hand_as_their_length_allows(stage, until, seconds, wanted):
    sizes = []
    real = stage.broker.consumer

    def consumer(*given, **named):
        made = real(*given, **named)
        resize = made.resize
        made.resize = lambda size: (sizes.append(size), resize(size))
        return made

    stage.broker.consumer = consumer
    chunks = 3 if seconds else 200
    stage.publish(chunks)
    stage.worker(lambda chunk: (time.sleep(seconds), doubled(chunk))[1])
    until(lambda: len(stage.results()) == chunks, within_seconds=20)
    size = sizes[-1] if sizes else 1
    assert wanted / 2 <= size <= wanted


def test_as_long_as_its_parent_lives_it_does_not_leave_for_want_of_work(stage, until):
    stage.worker(doubled, idle_exit_seconds=0.1)
    until(lambda: "w1" in stage.heartbeats(), within_seconds=20)
    at = stage.heartbeats()["w1"].at
    until(lambda: stage.heartbeats()["w1"].at > at + 0.5, within_seconds=20)
    stage.publish(1)
    until(lambda: len(stage.results()) == 1, within_seconds=20)
