"""A consumer of a broker as tests use it: one delivery after another, each with one outcome."""

from __future__ import annotations

from collections.abc import Iterator

from ttg_worker.brokers.attempts import given_up, retried
from ttg_worker.brokers.base import Consumer, Delivery, Outcome
from ttg_worker.wire import ChunkResult, ParameterError

TICK_SECONDS = 0.25


def deliveries(consumer: Consumer) -> Iterator[Delivery | None]:
    """What comes, suspects included, with None now and then while nothing does; without end."""
    while True:
        taken = consumer.take(most=1, wait_seconds=TICK_SECONDS)
        yield taken[0] if taken else consumer.take_suspect()


def complete(consumer: Consumer, delivery: Delivery, result: ChunkResult) -> None:
    consumer.settle(delivery, Outcome(results=(result,)))


def retry(consumer: Consumer, delivery: Delivery, *, reason: str, worker_id: str = "w0") -> None:
    again = retried(delivery, errors_of(delivery, reason), worker_id=worker_id)
    consumer.settle(delivery, Outcome(retry=again))


def dead_letter(consumer: Consumer, delivery: Delivery, *, reason: str, worker_id: str = "w0") -> None:
    letter = given_up(delivery, errors_of(delivery, reason), worker_id=worker_id)
    consumer.settle(delivery, Outcome(letter=letter))


def errors_of(delivery: Delivery, reason: str) -> list[ParameterError]:
    """The same error for all parameters of a delivery."""
    chunk = delivery.chunk
    return [ParameterError(chunk.offsets or tuple(range(chunk.size)), "Error", reason)]
