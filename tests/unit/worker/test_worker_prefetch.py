"""How many chunks a worker takes follows from those that it computed, not from those that failed; and what it
took goes back when something takes long."""

from __future__ import annotations

import threading
import time

from support.fake_compute import FakeCompute
from support.memory_broker import MemoryBroker, MemoryConsumer
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.settings import WorkerSettings
from ttg_worker.wire import Chunk
from ttg_worker.worker import Worker

CHUNKS = 4
OPTIONS = DeliveryOptions(retry_delay_seconds=0.01)


def broker_with(chunks: int) -> MemoryBroker:
    broker = MemoryBroker(OPTIONS)
    broker.declare("r")
    list(broker.publisher("r").publish([Chunk("r", c, c, c + 1) for c in range(chunks)]))
    return broker


def worker_on(broker: MemoryBroker, function, worker_id: str = "w") -> Worker:
    settings = WorkerSettings(broker_url="memory://x", run_id="r", worker_id=worker_id, delivery=OPTIONS)
    return Worker(settings, broker=broker, compute=FakeCompute(function))


def test_a_chunk_that_fails_at_once_does_not_make_a_worker_greedy(monkeypatch):
    calls = []

    def function(chunk) -> list[int]:
        calls.append(chunk.chunk_id)
        if len(calls) == 1:
            raise ValueError("at once")
        time.sleep(0.2)
        if len(calls) == CHUNKS + 1:
            worker.stop()
        return [1]

    sizes: list[int] = []
    monkeypatch.setattr(MemoryConsumer, "resize", lambda consumer, prefetch: sizes.append(prefetch))
    worker = worker_on(broker_with(CHUNKS), function)
    worker.run()
    assert len(calls) == CHUNKS + 1
    assert max(sizes, default=1) <= 1


def test_what_waits_behind_a_long_chunk_is_computed_by_others(until):
    go_on = threading.Event()
    done: dict[str, list[int]] = {"slow": [], "other": []}

    def slow(chunk) -> list[int]:
        # Short ones first, so that it takes many at a time.
        if chunk.chunk_id == 300:
            assert go_on.wait(20)
        done["slow"].append(chunk.chunk_id)
        return [1]

    def other(chunk) -> list[int]:
        done["other"].append(chunk.chunk_id)
        return [1]

    broker = broker_with(600)
    first = worker_on(broker, slow, "slow")
    threads = [threading.Thread(target=first.run, daemon=True)]
    threads[0].start()
    until(lambda: len(done["slow"]) >= 300)
    second = worker_on(broker, other, "other")
    threads.append(threading.Thread(target=second.run, daemon=True))
    threads[1].start()
    until(lambda: len(done["slow"]) + len(done["other"]) == 599)
    go_on.set()
    observer = broker.observer("r")
    until(lambda: len(list(iter(observer.results().__next__, None))) == 600)
    for worker, thread in zip((first, second), threads, strict=True):
        worker.stop()
        thread.join(20)
    results = [r.message for r in iter(observer.results().__next__, None)]
    assert {(r.attempt, r.redelivered) for r in results} == {(1, 0)}
    assert sorted(done["slow"] + done["other"]) == list(range(600))
