"""Reads a run on RabbitMQ: results and dead letters from their streams, heartbeats from a fanout."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec
import pika
import pika.exceptions

from ttg_worker import wire
from ttg_worker.brokers.attempts import given_up_by_broker
from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.brokers.rabbitmq.confirms import DEAD_LETTER_TYPE
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.link import Link
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttg_worker.errors import Undeliverable
from ttg_worker.wire import ChunkResult, DeadLetter, Heartbeat

# How much the broker sends ahead, and after how much of it taken it may send more.
_PREFETCH: Final = 500
_ACK_EVERY: Final = 125
_TICK_SECONDS: Final = 0.05
_BEATS_KEPT: Final = 1000

T = TypeVar("T")
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, Undeliverable)


class _StreamReader:
    """One pass over a stream on a connection of its own, from just after a position, without end."""

    def __init__(self, endpoint: Endpoint, stream: str, *, after: int, patience_seconds: float) -> None:
        self._stream = stream
        self._taken_to = after
        self._arrivals: queue.SimpleQueue[tuple[int, int, int, pika.BasicProperties, bytes] | None] = (
            queue.SimpleQueue()
        )
        self._link_count = 0
        self._channel: pika.channel.Channel | None = None
        self._closed = False
        self._link = Link(
            endpoint,
            name=f"reader of {stream}",
            heartbeat_seconds=10,
            opened=lambda connection: connection.channel(on_open_callback=self._on_channel),
            lost=self._on_lost,
            failed=lambda: self._arrivals.put(None),
            patience_seconds=patience_seconds,
        )

    def messages(
        self, decode: Callable[[pika.BasicProperties, bytes], T]
    ) -> Iterator[Recorded[T | Unreadable] | None]:
        untold = 0
        self._link.start()
        try:
            while not self._closed:
                try:
                    arrival = self._arrivals.get(timeout=_TICK_SECONDS)
                except queue.Empty:
                    arrival = None
                if arrival is None:
                    if self._link.failure is not None:
                        raise self._link.failure
                    yield None
                    continue
                link, tag, position, properties, body = arrival
                if link != self._link_count or position <= self._taken_to:
                    continue  # of a lost connection: the stream is read again from where we are
                self._taken_to = position
                untold += 1
                if untold >= _ACK_EVERY:
                    untold = 0
                    self._link.call(lambda link=link, tag=tag: self._ack(link, tag))  # type: ignore[misc]
                message: T | Unreadable
                try:
                    message = decode(properties, body)
                except _UNREADABLE as error:
                    message = Unreadable(wire.printable(body), str(error))
                yield Recorded(position, message)
        finally:
            self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._link.close()

    # The link's thread.

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: self._link.drop(reason))
        channel.add_on_cancel_callback(
            lambda _: self._link.drop(pika.exceptions.ConsumerCancelled("the stream is gone or moved"))
        )
        self._channel = channel
        channel.basic_qos(
            prefetch_count=_PREFETCH,
            callback=lambda _: channel.basic_consume(
                self._stream,
                self._on_message,
                arguments={"x-stream-offset": self._taken_to + 1},
                callback=lambda _: self._link.ready(),
            ),
        )

    def _on_message(
        self, channel: pika.channel.Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        position = int(properties.headers["x-stream-offset"])
        self._arrivals.put((self._link_count, method.delivery_tag, position, properties, body))

    def _ack(self, link: int, tag: int) -> None:
        if link == self._link_count and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag, multiple=True)

    def _on_lost(self) -> None:
        self._channel = None
        self._link_count += 1


class _BeatListener:
    """Keeps the newest heartbeat of each worker."""

    def __init__(self, endpoint: Endpoint, exchange: str) -> None:
        self._exchange = exchange
        self._newest: dict[str, Heartbeat] = {}
        self._link = Link(
            endpoint,
            name=f"listener to {exchange}",
            heartbeat_seconds=10,
            opened=lambda connection: connection.channel(on_open_callback=self._on_channel),
            lost=lambda: None,
            failed=lambda: None,
            patience_seconds=None,
        )
        self._link.start()

    def newest(self) -> list[Heartbeat]:
        if self._link.failure is not None:
            raise self._link.failure
        return list(self._newest.copy().values())

    def close(self) -> None:
        self._link.close()

    # The link's thread.

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: self._link.drop(reason))

        def declared(frame: Any) -> None:
            name = frame.method.queue
            channel.queue_bind(name, self._exchange, callback=lambda _: consume(name))

        def consume(name: str) -> None:
            channel.basic_consume(
                name, self._on_message, auto_ack=True, callback=lambda _: self._link.ready()
            )

        arguments = {"x-max-length": _BEATS_KEPT, "x-overflow": "drop-head"}
        channel.queue_declare("", exclusive=True, auto_delete=True, arguments=arguments, callback=declared)

    def _on_message(
        self, channel: pika.channel.Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        try:
            heartbeat = wire.decode_heartbeat(body)
        except _UNREADABLE:
            return  # heartbeats only inform; what is no heartbeat informs of nothing
        self._newest[heartbeat.worker_id] = heartbeat


class RabbitMQObserver:
    """Implements :class:`~ttg_worker.brokers.base.Observer`: a connection for each iterator, and one for
    heartbeats from the first time they are asked for."""

    def __init__(
        self, endpoint: Endpoint, queues: Queues, *, delivery_limit: int, patience_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._queues = queues
        self._delivery_limit = delivery_limit
        self._patience_seconds = patience_seconds
        self._readers: list[_StreamReader] = []
        self._listener: _BeatListener | None = None

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        return self._read(self._queues.results, after).messages(lambda _, body: wire.decode_result(body))

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        return self._read(self._queues.dlq, after).messages(self._dead_letter)

    def heartbeats(self) -> list[Heartbeat]:
        if self._listener is None:
            self._listener = _BeatListener(self._endpoint, self._queues.heartbeats)
        return self._listener.newest()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        if self._listener is not None:
            self._listener.close()

    def _read(self, stream: str, after: int) -> _StreamReader:
        reader = _StreamReader(self._endpoint, stream, after=after, patience_seconds=self._patience_seconds)
        self._readers.append(reader)
        return reader

    def _dead_letter(self, properties: pika.BasicProperties, body: bytes) -> DeadLetter:
        if properties.type == DEAD_LETTER_TYPE:
            return wire.decode_dead_letter(body)
        # What the broker dead-letters is the body that was published. Of its headers on why, RabbitMQ
        # before 4 keeps only these in a stream, so that the time is the one of reading there.
        headers = properties.headers or {}
        reason = headers.get("x-first-death-reason")
        if reason is None:
            raise Undeliverable("malformed", "neither a dead letter nor given up by the broker")
        deaths = headers.get("x-death")
        at = deaths[0]["time"].timestamp() if deaths else time.time()
        return given_up_by_broker(
            body, str(reason), run_id=self._queues.run_id, delivery_limit=self._delivery_limit, at=at
        )
