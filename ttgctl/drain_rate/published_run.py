"""A run whose chunks all wait on the broker, for workers whose rate is measured at draining it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Broker, DeliveryOptions
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.wire import Chunk, ChunkResult

OPTIONS: Final = DeliveryOptions()


@contextmanager
def published_run(url: str, run_id: str, chunks: int) -> Iterator[Broker]:
    """Each chunk is one parameter. The run is gone from the broker at the end."""
    broker = open_broker(url, options=OPTIONS)
    try:
        broker.declare(run_id)
        try:
            publisher = broker.publisher(run_id)
            with closing(publisher):
                for _ in publisher.publish(Chunk(run_id, n, n, n + 1) for n in range(chunks)):
                    pass
            yield broker
        finally:
            broker.drop(run_id)
    finally:
        broker.close()


def result_body(run_id: str) -> bytes:
    """As long as a worker's result for one of these chunks."""
    values = b"[%d]" % synthetic_value(0, 1)
    return wire.encode(
        ChunkResult(
            run_id=run_id,
            chunk_id=12_345,
            worker_id="worker-1",
            attempt=1,
            redelivered=0,
            started_at=1_700_000_000.123456,
            finished_at=1_700_000_000.123456,
            digest=wire.digest(values),
            values=msgspec.Raw(values),
        )
    )
