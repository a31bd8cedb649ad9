"""A chunk after an attempt that failed: what it takes along to the next one, or into the DLQ."""

from __future__ import annotations

import time

import msgspec

from ttg_worker.brokers.base import Delivery, Recorded
from ttg_worker.errors import BrokerError
from ttg_worker.wire import Chunk, DeadLetter, Failure


def retried(delivery: Delivery, *, worker_id: str, reason: str) -> Chunk:
    """The chunk after a failed attempt, which counts, and whose ``reason`` joins its history."""
    chunk = delivery.chunk
    failure = Failure(delivery.attempt, worker_id, reason, time.time())
    return msgspec.structs.replace(chunk, retries=chunk.retries + 1, history=(*chunk.history, failure))


def given_up(delivery: Delivery, *, worker_id: str, reason: str) -> DeadLetter:
    """The dead letter of a chunk whose last attempt failed."""
    return DeadLetter(
        run_id=delivery.chunk.run_id,
        cause="failed",
        detail=reason,
        attempt=delivery.attempt,
        worker_id=worker_id,
        at=time.time(),
        chunk=delivery.chunk,
    )


def replayed(letter: Recorded[DeadLetter]) -> Chunk:
    """The chunk of a dead letter, whose end joins its history; its retries count from 0 again.

    Raises :class:`BrokerError` for a letter that holds no chunk.
    """
    dead = letter.message
    if dead.chunk is None:
        raise BrokerError(f"the dead letter at {letter.position} holds no chunk to try again: {dead.detail}")
    failure = Failure(dead.attempt, dead.worker_id, f"{dead.cause}: {dead.detail}", dead.at)
    return msgspec.structs.replace(dead.chunk, retries=0, history=(*dead.chunk.history, failure))
