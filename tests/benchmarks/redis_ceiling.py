"""How fast the raw client drains Redis: redis-py's pipelines, nothing decoded or computed.

Streams, bodies and promise are a worker's: a result and the end of its task are one transaction.
"""

from __future__ import annotations

import time
from typing import Any, Final

import redis

from benchmarks import RUN_ID
from ttg_worker.brokers.redis.connection import GROUP, Keys
from ttgctl.drain_rate.published_run import published_run, result_body
from ttgctl.drain_rate.rates import BenchmarkError

# More is no faster.
BATCH: Final = 500


def ceiling(url: str, chunks: int) -> float:
    """Chunks per second, from the first read to the last transaction's end."""
    keys = Keys(RUN_ID)
    body = result_body(RUN_ID)
    with published_run(url, RUN_ID, chunks), redis.Redis.from_url(url, protocol=2) as client:
        # Replies as they are; redis-py would spend time on making them nicer.
        client.response_callbacks.clear()
        drained = 0
        started_at = time.perf_counter()
        while True:
            reply: Any = client.execute_command(
                "XREADGROUP", "GROUP", GROUP, "raw", "COUNT", BATCH, "STREAMS", keys.tasks, ">"
            )
            if not reply:
                break
            entries = [entry for entry, _ in reply[0][1]]
            with client.pipeline(transaction=True) as pipeline:
                for _ in entries:
                    pipeline.execute_command("XADD", keys.results, "*", "body", body)
                pipeline.execute_command("XACK", keys.tasks, GROUP, *entries)
                pipeline.execute_command("XDEL", keys.tasks, *entries)
                pipeline.execute()
            drained += len(entries)
        seconds = time.perf_counter() - started_at
    if drained != chunks:
        raise BenchmarkError(f"raw client on redis: {drained} of {chunks} chunks")
    return drained / seconds
