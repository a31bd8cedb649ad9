"""Celery at the same work: tasks kept until they are done, results kept, settings for short tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import celery
import redis

from benchmarks.celery_tasks import BROKER_VARIABLE, RESULTS_VARIABLE, open_app
from ttgctl.drain_rate.rates import Done, chunks_per_second
from ttgctl.drain_rate.worker_processes import worker_processes

VERSION: Final = celery.__version__


def drain(broker_url: str, *, results_url: str, workers: int, chunks: int, folder: Path) -> float:
    """Tasks per second. ``results_url`` is a Redis database of its own, which is emptied."""
    app = open_app(broker_url, results_url)
    kept = redis.Redis.from_url(results_url)
    try:
        # What an earlier worker had in hand when it was stopped is back in the queue.
        app.control.purge()
        kept.flushdb()
        nothing = app.tasks["nothing"]
        with app.producer_pool.acquire(block=True) as producer:
            ids: list[str] = [nothing.apply_async(producer=producer).id for _ in range(chunks)]
        with worker_processes(folder) as group:
            for number in range(1, workers + 1):
                # One process each, that takes and computes: faster at this than a pool behind one.
                group.start(
                    [
                        *(sys.executable, "-m", "celery", "--app", "benchmarks.celery_worker"),
                        *("--quiet", "worker", "--pool", "solo", "--hostname", f"worker-{number}@%h"),
                        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                        *("--loglevel", "WARNING"),
                    ],
                    name=f"celery-{number}",
                    environment={BROKER_VARIABLE: broker_url, RESULTS_VARIABLE: results_url},
                )
            group.wait(lambda: chunks - int(kept.dbsize()))
        return chunks_per_second([Done(*app.backend.get_result(task_id)) for task_id in ids])
    finally:
        kept.close()
        app.close()
