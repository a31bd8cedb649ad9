"""A chunk after an attempt that failed: what it takes along to the next one, or into the DLQ."""

from __future__ import annotations

import time

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Delivery, Recorded, Unreadable
from ttg_worker.errors import BrokerError, Undeliverable
from ttg_worker.wire import Cause, Chunk, DeadLetter, Failure


def retried(delivery: Delivery, *, worker_id: str, reason: str) -> Chunk:
    """The chunk after a failed attempt, which counts, and whose ``reason`` joins its history."""
    chunk = delivery.chunk
    failure = Failure(delivery.attempt, worker_id, reason, time.time())
    return msgspec.structs.replace(chunk, retries=chunk.retries + 1, history=(*chunk.history, failure))


def given_up(delivery: Delivery, *, worker_id: str, reason: str) -> DeadLetter:
    """The dead letter of a chunk whose last attempt failed."""
    return _letter("failed", reason, attempt=delivery.attempt, worker_id=worker_id, chunk=delivery.chunk)


def crashed_too_often(chunk: Chunk, *, redelivered: int, limit: int, worker_id: str) -> DeadLetter:
    """The dead letter of a chunk whose workers died, ``redelivered`` times, before it was done."""
    detail = f"its worker died {redelivered} times; the limit is {limit}"
    attempt = chunk.retries + redelivered
    return _letter("delivery-limit", detail, attempt=attempt, worker_id=worker_id, chunk=chunk)


def refused(body: bytes, problem: Undeliverable, *, run_id: str, attempt: int, worker_id: str) -> DeadLetter:
    """The dead letter of a message that is no chunk of the run."""
    return _letter(
        problem.cause, problem.detail, attempt=attempt, worker_id=worker_id, run_id=run_id, body=body
    )


def given_up_by_broker(
    body: bytes, reason: str, *, run_id: str, delivery_limit: int, at: float
) -> DeadLetter:
    """The dead letter of a message that the broker gave up itself, for ``reason`` in its own words, at
    ``at`` (Unix seconds)."""
    try:
        chunk = wire.decode_chunk(body, run_id=run_id)
    except Undeliverable as problem:
        detail = f"{problem.detail}; the broker gave it up: {reason}"
        return _letter(problem.cause, detail, attempt=1, at=at, run_id=run_id, body=body)
    if reason != "delivery_limit":
        detail = f"the broker gave it up: {reason}"
        return _letter("failed", detail, attempt=chunk.retries + 1, at=at, chunk=chunk)
    deliveries = delivery_limit + 1
    detail = f"delivered {deliveries} times, and each time its worker went away before it was done"
    return _letter("delivery-limit", detail, attempt=chunk.retries + deliveries, at=at, chunk=chunk)


def unreadable(letter: Unreadable, *, run_id: str) -> DeadLetter:
    """What stands for a message in the DLQ that is no dead letter."""
    return _letter("malformed", letter.error, attempt=0, at=0.0, run_id=run_id, body=letter.body)


def _letter(
    cause: Cause,
    detail: str,
    *,
    attempt: int,
    worker_id: str = "",
    at: float | None = None,
    chunk: Chunk | None = None,
    run_id: str = "",
    body: bytes | str = b"",
) -> DeadLetter:
    """The one place where dead letters are made. ``run_id`` is for those that hold no chunk."""
    return DeadLetter(
        run_id=run_id if chunk is None else chunk.run_id,
        cause=cause,
        detail=detail,
        attempt=attempt,
        worker_id=worker_id,
        at=time.time() if at is None else at,
        chunk=chunk,
        body=body if isinstance(body, str) else wire.printable(body),
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
