"""Dramatiq at the same work, with its Results middleware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import dramatiq
import redis

from benchmarks.dramatiq_tasks import BROKER_VARIABLE, RESULTS_VARIABLE, open_actor
from ttgctl.drain_rate.rates import Done, chunks_per_second
from ttgctl.drain_rate.worker_processes import worker_processes

VERSION: Final = dramatiq.__version__
# As much at hand as a worker of this project takes; Dramatiq's own choice is twice its threads.
PREFETCH: Final = "500"


def drain(broker_url: str, *, results_url: str, workers: int, chunks: int, folder: Path) -> float:
    """Messages per second. ``results_url`` is a Redis database of its own, which is emptied."""
    actor = open_actor(broker_url, results_url)
    kept = redis.Redis.from_url(results_url)
    try:
        # What an earlier worker had in hand when it was stopped is back in the queue.
        actor.broker.flush(actor.queue_name)
        kept.flushdb()
        messages = [actor.send() for _ in range(chunks)]
        with worker_processes(folder) as group:
            group.start(
                [
                    *(sys.executable, "-m", "dramatiq", "benchmarks.dramatiq_worker:broker"),
                    *("--processes", str(workers)),
                ],
                name="dramatiq",
                environment={
                    BROKER_VARIABLE: broker_url,
                    RESULTS_VARIABLE: results_url,
                    "dramatiq_queue_prefetch": PREFETCH,
                },
            )
            group.wait(lambda: chunks - int(kept.dbsize()))
        backend = next(m.backend for m in actor.broker.middleware if hasattr(m, "backend"))
        return chunks_per_second([Done(*backend.get_result(message)) for message in messages])
    finally:
        kept.close()
        actor.broker.close()
