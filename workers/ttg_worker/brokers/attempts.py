"""A chunk after an attempt: what of it goes to the next one, or into the DLQ, and what it takes along."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Delivery, Recorded, Unreadable
from ttg_worker.errors import BrokerError, Undeliverable
from ttg_worker.wire import Cause, Chunk, DeadLetter, Failure, ParameterError

# So many different errors are told of one chunk, in so many bytes altogether; then their kinds are.
ERRORS_MOST: Final = 4096
ERROR_TEXTS_BYTES: Final = 1024 * 1024


def part_of(chunk: Chunk, offsets: Sequence[int]) -> Chunk:
    """The chunk with these of its parameters alone; ``offsets`` rise and are among its own."""
    if len(offsets) == chunk.size:
        return chunk
    parameters = chunk.parameters
    if len(parameters):
        own = chunk.offsets or range(chunk.stop - chunk.start)
        values = dict(zip(own, msgspec.json.decode(parameters, type=list[msgspec.Raw]), strict=True))
        parameters = msgspec.Raw(msgspec.json.encode([values[offset] for offset in offsets]))
    return msgspec.structs.replace(chunk, offsets=tuple(offsets), parameters=parameters)


def retried(delivery: Delivery, errors: Sequence[ParameterError], *, worker_id: str) -> Chunk:
    """The parameters that failed, for another attempt; this one counts and joins the history."""
    chunk = part_of(delivery.chunk, _offsets(errors))
    failure = Failure(delivery.attempt, worker_id, _reason(errors), time.time())
    return msgspec.structs.replace(chunk, retries=chunk.retries + 1, history=(*chunk.history, failure))


def given_up(delivery: Delivery, errors: Sequence[ParameterError], *, worker_id: str) -> DeadLetter:
    """The dead letter of the parameters whose last attempt failed."""
    return _letter(
        "failed",
        _reason(errors),
        attempt=delivery.attempt,
        worker_id=worker_id,
        chunk=part_of(delivery.chunk, _offsets(errors)),
        errors=_bounded(errors),
    )


def crashed_too_often(chunk: Chunk, *, redelivered: int, limit: int, worker_id: str) -> DeadLetter:
    """The dead letter of a chunk that was in hand when its worker died, more than ``limit`` times."""
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
    errors: tuple[ParameterError, ...] = (),
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
        errors=errors,
    )


def _offsets(errors: Sequence[ParameterError]) -> list[int]:
    return sorted(offset for error in errors for offset in error.offsets)


def _bounded(errors: Sequence[ParameterError]) -> tuple[ParameterError, ...]:
    """The errors in as many bytes as a message may have of them."""
    told, rest = errors[:ERRORS_MOST], errors[ERRORS_MOST:]
    most = min(wire.ERROR_TEXT_BYTES, ERROR_TEXTS_BYTES // len(told))
    bounded = [msgspec.structs.replace(e, text=wire.cut(e.text, most_bytes=most)) for e in told]
    for kind in dict.fromkeys(error.kind for error in rest):
        text = f"{kind} (one chunk had more than {ERRORS_MOST:,} different errors)"
        bounded.append(ParameterError(tuple(_offsets([e for e in rest if e.kind == kind])), kind, text))
    return tuple(bounded)


def _reason(errors: Sequence[ParameterError]) -> str:
    """One line for the history of attempts; the errors of a letter itself say which parameters had which."""
    others = len(errors) - 1
    more = f" (and {others:,} other error{'' if others == 1 else 's'})" if others else ""
    return errors[0].summary + more


def replayed(letter: Recorded[DeadLetter]) -> Chunk:
    """The chunk of a dead letter, whose end joins its history; its retries count from 0 again.

    Raises :class:`BrokerError` for a letter that holds no chunk.
    """
    dead = letter.message
    if dead.chunk is None:
        raise BrokerError(f"the dead letter at {letter.position} holds no chunk to try again: {dead.detail}")
    failure = Failure(dead.attempt, dead.worker_id, f"{dead.cause}: {dead.detail}", dead.at)
    return msgspec.structs.replace(dead.chunk, retries=0, history=(*dead.chunk.history, failure))
