"""Publishes a run's chunks to RabbitMQ, with a window of them waiting for their confirms."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import pika

from ttg_worker import wire
from ttg_worker.brokers.rabbitmq.confirms import PERSISTENT, Confirms, Outgoing
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.link import Link
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttg_worker.wire import Chunk

# Bounds what is in memory here and in the broker's channel; more is no faster.
_WINDOW: Final = 4000
_BATCH: Final = 250
_TICK_SECONDS: Final = 0.5
# RabbitMQ 3 writes down which quorum queues and streams it has up to a second after it made them;
# killed before, it comes back with new and empty quorum queues, and never opens its streams again.
# So nothing is published, let alone computed, before.
_YOUNG_SECONDS: Final = 1.2


class RabbitMQPublisher:
    """Implements :class:`~ttg_worker.brokers.base.Publisher`. Gives up with the first lost connection:
    whoever publishes knows what to publish again."""

    def __init__(
        self, endpoint: Endpoint, queues: Queues, *, heartbeat_seconds: int, declared_at: float | None
    ) -> None:
        """``declared_at`` is when this process made the queues, on the monotonic clock."""
        self._queue = queues.tasks
        self._declared_at = declared_at
        self._safe_at = 0.0
        self._confirmed = 0
        self._out_of_order: set[int] = set()
        self._ready = threading.Event()
        self._progress = threading.Event()
        self._confirms = Confirms(safe=self._on_safe, unroutable=lambda error: self._link.drop(error))
        self._link = Link(
            endpoint,
            name=f"publisher of {queues.run_id}",
            heartbeat_seconds=heartbeat_seconds,
            opened=self._on_open,
            lost=self._confirms.detach,
            failed=self._on_failed,
            patience_seconds=0.0,
        )

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        self._link.start()
        self._wait(self._ready)
        time.sleep(max(0.0, self._safe_at - time.monotonic()))
        remaining = iter(chunks)
        start = sent = told = self._confirmed
        while batch := list(islice(remaining, _BATCH)):
            messages = [
                Outgoing(self._queue, wire.encode(chunk), PERSISTENT, number)
                for number, chunk in enumerate(batch, start=sent)
            ]
            sent += len(messages)
            self._link.call(lambda messages=messages: self._publish(messages))  # type: ignore[misc]
            while sent - self._confirmed > _WINDOW:
                self._wait(self._progress)
            if self._confirmed > told:
                told = self._confirmed
                yield told - start
        while told < sent:
            if self._confirmed == told:
                self._wait(self._progress)
            told = self._confirmed
            yield told - start
        if sent == start:
            yield 0

    def close(self) -> None:
        self._link.close()

    def _wait(self, event: threading.Event) -> None:
        # Bounded, so that Ctrl-C is heard on every platform.
        while not event.wait(_TICK_SECONDS):
            pass
        if event is self._progress:
            event.clear()
        failure = self._link.failure
        if failure is not None:
            raise failure

    # The link's thread.

    def _on_open(self, connection: pika.SelectConnection) -> None:
        version = (connection.server_properties or {}).get("version", "")
        if self._declared_at is not None and version.startswith("3."):
            self._safe_at = self._declared_at + _YOUNG_SECONDS
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: self._link.drop(reason))

        def ready() -> None:
            self._link.ready()
            self._ready.set()

        self._confirms.attach(channel, self._queue, ready=ready)

    def _publish(self, messages: list[Outgoing]) -> None:
        for message in messages:
            self._confirms.publish(message)

    def _on_safe(self, message: Outgoing) -> None:
        # Counts only as far as all before are safe too: that is where a later publisher goes on.
        number: int = message.token
        if number != self._confirmed:
            self._out_of_order.add(number)
            return
        number += 1
        while number in self._out_of_order:
            self._out_of_order.remove(number)
            number += 1
        self._confirmed = number
        self._progress.set()

    def _on_failed(self) -> None:
        self._ready.set()
        self._progress.set()
