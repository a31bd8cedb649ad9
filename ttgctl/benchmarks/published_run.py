"""A run whose chunks all wait on the broker, for whoever is measured at draining it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Broker, DeliveryOptions
from ttg_worker.wire import Chunk, ChunkResult
from ttg_worker.workload import synthetic_digest, synthetic_value

RUN_ID: Final = "bench"
OPTIONS: Final = DeliveryOptions()


@contextmanager
def published_run(url: str, chunks: int) -> Iterator[Broker]:
    """Each chunk is one parameter. The run is gone from the broker at the end."""
    broker = open_broker(url, options=OPTIONS)
    try:
        broker.drop(RUN_ID)
        broker.declare(RUN_ID)
        publisher = broker.publisher(RUN_ID)
        try:
            for _ in publisher.publish(Chunk(RUN_ID, n, n, n + 1) for n in range(chunks)):
                pass
        finally:
            publisher.close()
        yield broker
        broker.drop(RUN_ID)
    finally:
        broker.close()


def result_body() -> bytes:
    """As long as a worker's result for one of these chunks."""
    return wire.encode(
        ChunkResult(
            run_id=RUN_ID,
            chunk_id=12_345,
            worker_id="worker-1",
            attempt=1,
            redelivered=0,
            started_at=1_700_000_000.123456,
            finished_at=1_700_000_000.123456,
            digest=synthetic_digest(0, range(1)),
            values=msgspec.Raw(b"[%d]" % synthetic_value(0, 1)),
        )
    )
