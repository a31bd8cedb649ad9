"""A worker for tests that kill or stop it: takes a chunk, says so, completes it when told to."""

from __future__ import annotations

import os
import sys
import time

import msgspec

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Delivery, DeliveryOptions, Outcome
from ttg_worker.wire import ChunkResult, digest

options = DeliveryOptions(lease_seconds=float(os.environ["LEASE_SECONDS"]), retry_delay_seconds=0.3)
broker = open_broker(os.environ["BROKER_URL"], options=options)
run_id = os.environ["RUN_ID"]
consumer = broker.consumer(run_id, "process", prefetch=1, unsafe_ack_early="UNSAFE" in os.environ)


def work(delivery: Delivery) -> None:
    print("took", delivery.chunk.chunk_id, flush=True)
    sys.stdin.readline()
    now = time.time()
    values = b"[1]"
    result = ChunkResult(
        run_id=run_id,
        chunk_id=delivery.chunk.chunk_id,
        worker_id="process",
        attempt=delivery.attempt,
        redelivered=delivery.redelivered,
        started_at=now,
        finished_at=now,
        digest=digest(values),
        values=msgspec.Raw(values),
    )
    consumer.settle(delivery, Outcome(results=(result,)))
    assert consumer.flush(timeout_seconds=20)
    print("completed", flush=True)


while True:
    for delivery in consumer.take(most=1, wait_seconds=1.0):
        work(delivery)
