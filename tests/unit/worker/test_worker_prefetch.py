"""How many chunks a worker takes follows from those that it computed, not from those that failed."""

from __future__ import annotations

import time

from support.memory_broker import MemoryBroker, MemoryConsumer
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.settings import WorkerSettings
from ttg_worker.wire import Chunk
from ttg_worker.worker import Worker

CHUNKS = 4


class Workload:
    """Fails at once on the first chunk that it gets, is slow on all others, and ends with the last."""

    worker: Worker

    def __init__(self) -> None:
        self.calls = 0

    def compute(self, chunk, attempt) -> bytes:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("at once")
        time.sleep(0.2)
        if self.calls == CHUNKS + 1:
            self.worker._stopping = True
        return b"[1]"


def test_a_chunk_that_fails_at_once_does_not_make_a_worker_greedy(monkeypatch):
    options = DeliveryOptions(retry_delay_seconds=0.01)
    broker = MemoryBroker(options)
    broker.declare("r")
    list(broker.publisher("r").publish([Chunk("r", c, c, c + 1) for c in range(CHUNKS)]))
    sizes: list[int] = []
    monkeypatch.setattr(MemoryConsumer, "resize", lambda consumer, prefetch: sizes.append(prefetch))
    workload = Workload()
    settings = WorkerSettings(broker_url="memory://x", run_id="r", worker_id="w", delivery=options)
    workload.worker = Worker(settings, broker=broker, workload=workload)
    workload.worker.run()
    assert workload.calls == CHUNKS + 1
    assert max(sizes, default=1) == 1
