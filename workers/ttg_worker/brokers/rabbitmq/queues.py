"""The queues of a run on RabbitMQ, and why each is what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ttg_worker.brokers.base import DLQ, RESULTS, RETRY, TASKS, DeliveryOptions

# Chunks whose workers died again and again; they count as tasks.
QUARANTINE: Final = "ttg.tasks.quarantine"
# A worker that computes for a day keeps its chunk; the broker's default is half an hour.
CONSUMER_TIMEOUT_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True)
class Queues:
    """Full names of one run's queues, and of the exchange that carries its workers' heartbeats."""

    run_id: str

    @property
    def tasks(self) -> str:
        return f"{TASKS}.{self.run_id}"

    @property
    def quarantine(self) -> str:
        return f"{QUARANTINE}.{self.run_id}"

    @property
    def retry(self) -> str:
        return f"{RETRY}.{self.run_id}"

    @property
    def dlq(self) -> str:
        return f"{DLQ}.{self.run_id}"

    @property
    def results(self) -> str:
        return f"{RESULTS}.{self.run_id}"

    @property
    def heartbeats(self) -> str:
        return f"ttg.heartbeats.{self.run_id}"

    @property
    def all(self) -> tuple[str, ...]:
        return (self.tasks, self.quarantine, self.retry, self.dlq, self.results)

    def arguments(self, options: DeliveryOptions, *, limit_is_default: bool) -> dict[str, dict[str, Any]]:
        """Declaration arguments by queue name.

        Tasks have no delivery limit: the count of a chunk grows with each worker that dies, also where
        it only waited beside another one. ``limit_is_default`` says that the server, like RabbitMQ from 4
        on, has one unless it is told; earlier ones refuse to be told.

        Dead-lettering is at-least-once, which a quorum queue allows only when it refuses what
        is too much instead of dropping its head. Results and dead letters are streams: read
        from the start by as many as like, and never consumed.
        """
        return {
            self.tasks: {
                "x-queue-type": "quorum",
                **({"x-delivery-limit": -1} if limit_is_default else {}),
                "x-consumer-timeout": CONSUMER_TIMEOUT_MS,
                **_dead_letters_to(self.dlq),
            },
            # Here a delivery is a chunk begun, for workers take one at a time and begin it at once.
            self.quarantine: {
                "x-queue-type": "quorum",
                "x-delivery-limit": options.delivery_limit,
                "x-consumer-timeout": CONSUMER_TIMEOUT_MS,
                **_dead_letters_to(self.dlq),
            },
            # One delay a queue: with a delay a message, a long one would hold up those behind it.
            self.retry: {
                "x-queue-type": "quorum",
                "x-message-ttl": max(1, round(options.retry_delay_seconds * 1000)),
                **_dead_letters_to(self.tasks),
            },
            self.dlq: {"x-queue-type": "stream"},
            self.results: {"x-queue-type": "stream"},
        }


def _dead_letters_to(queue: str) -> dict[str, Any]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
