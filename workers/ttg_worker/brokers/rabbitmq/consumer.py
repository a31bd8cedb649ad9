"""A worker's end on RabbitMQ: an I/O thread keeps the connection alive while the caller computes."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import pika
import pika.exceptions

from ttg_worker import wire
from ttg_worker.brokers.attempts import given_up, refused, retried
from ttg_worker.brokers.base import Delivery
from ttg_worker.brokers.rabbitmq.confirms import PERSISTENT, PERSISTENT_DEAD_LETTER, Confirms, Outgoing
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.intake import Intake, Token
from ttg_worker.brokers.rabbitmq.link import Link
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttg_worker.errors import Undeliverable
from ttg_worker.wire import ChunkResult, Heartbeat

_TICK_SECONDS: Final = 0.5
# What RabbitMQ 4 takes by default; it closes the channel of whoever sends more.
_LARGEST_BYTES: Final = 16 * 1024 * 1024
# The unsafe mode waits for its ack, for this long at the most.
_ACK_EARLY_SECONDS: Final = 2.0


class RabbitMQConsumer:
    """Implements :class:`~ttg_worker.brokers.base.Consumer`.

    The caller's thread and the link's share three things, each safe by itself under CPython:
    arrivals (a queue), outgoing messages (a deque) and what is held (a dict only copied by the
    caller). Two counters, each written by one thread, say whether all is safe.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        queues: Queues,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool,
        heartbeat_seconds: int,
        on_reconnect: Callable[[str], None] | None,
    ) -> None:
        self._queues = queues
        self._worker_id = worker_id
        self._ack_early = unsafe_ack_early
        self._prefetch = prefetch
        self._arrivals: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._outgoing: deque[Outgoing] = deque()
        self._wake_due = False
        self._sent = 0
        self._refused = 0
        self._safe = 0
        self._held: dict[Token, int] = {}
        self._attached = False
        self._taking = False
        self._closed = False
        self._intake: Intake | None = None
        self._beat_channel: pika.channel.Channel | None = None
        self._confirms = Confirms(safe=self._on_safe, unroutable=self._on_unroutable)
        self._link = Link(
            endpoint,
            name=f"worker {worker_id} of {queues.run_id}",
            heartbeat_seconds=heartbeat_seconds,
            opened=self._on_open,
            lost=self._on_lost,
            failed=lambda: self._arrivals.put(None),
            patience_seconds=None,
            say=on_reconnect,
        )

    # The caller's thread.

    def __iter__(self) -> Iterator[Delivery | None]:
        self._taking = True
        self._link.start()
        self._link.call(self._take)
        while not self._closed:
            try:
                delivery = self._arrivals.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                delivery = None
            if self._link.failure is not None:
                raise self._link.failure
            if delivery is None:
                yield None
                continue
            token: Token = delivery.token
            if token.intake is not self._intake:
                continue  # came on a connection that is lost: the broker delivers it again
            token.taken = True
            if self._ack_early:
                self._ack_at_once(token)
            yield delivery

    def resize(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._link.call(self._resize)

    def complete(self, delivery: Delivery, result: ChunkResult) -> None:
        body = wire.encode(result)
        if len(body) > _LARGEST_BYTES:
            reason = f"its result has {len(body)} bytes, {_LARGEST_BYTES} are the most that RabbitMQ takes"
            self.dead_letter(delivery, reason=reason)
            return
        self._send(Outgoing(self._queues.results, body, PERSISTENT, delivery.token))

    def retry(self, delivery: Delivery, *, reason: str) -> None:
        again = retried(delivery, worker_id=self._worker_id, reason=reason)
        self._send(Outgoing(self._queues.retry, wire.encode(again), PERSISTENT, delivery.token))

    def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        letter = given_up(delivery, worker_id=self._worker_id, reason=reason)
        self._send(Outgoing(self._queues.dlq, wire.encode(letter), PERSISTENT_DEAD_LETTER, delivery.token))

    def flush(self, *, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while self._safe < self._sent + self._refused:
            if self._link.failure is not None or time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def held(self) -> tuple[int, ...]:
        # After a reconnection a chunk can be here twice, from before and after.
        return tuple(dict.fromkeys(self._held.copy().values()))

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        body = wire.encode(heartbeat)
        self._link.start()
        self._link.call(lambda: self._publish_beat(body))

    def close(self) -> None:
        # The broker gives what a closed connection held to others at once.
        self._closed = True
        self._link.close()

    def _send(self, message: Outgoing) -> None:
        self._sent += 1
        self._outgoing.append(message)
        if not self._wake_due:
            self._wake_due = True
            self._link.call(self._publish_outgoing)

    def _ack_at_once(self, token: Token) -> None:
        acked = threading.Event()
        self._link.call(lambda: token.intake.ack_at_once(token, done=acked.set))
        acked.wait(_ACK_EARLY_SECONDS)

    # The link's thread.

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)
        connection.channel(on_open_callback=self._on_beat_channel)

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: self._link.drop(reason))
        channel.add_on_cancel_callback(
            lambda _: self._link.drop(pika.exceptions.ConsumerCancelled("the queue is gone or moved"))
        )

        def ready() -> None:
            self._link.ready()
            self._attached = True
            self._intake = Intake(
                self._link, channel, self._queues.tasks, prefetch=self._prefetch, on_message=self._on_message
            )
            self._publish_outgoing()
            self._take()

        self._confirms.attach(channel, self._queues.results, ready=ready)

    def _on_beat_channel(self, channel: pika.channel.Channel) -> None:
        # Of its own: a missing exchange closes it, and heartbeats must not disturb the work.
        self._beat_channel = channel

    def _on_lost(self) -> None:
        self._attached = False
        self._intake = self._beat_channel = None
        self._confirms.detach()
        for token in [token for token in self._held if not token.taken]:
            del self._held[token]

    def _on_unroutable(self, error: BaseException) -> None:
        self._attached = False
        self._link.drop(error)

    def _take(self) -> None:
        if self._taking and self._intake is not None:
            self._intake.start()

    def _resize(self) -> None:
        if self._intake is not None:
            self._intake.resize(self._prefetch)

    def _on_message(self, token: Token, properties: pika.BasicProperties, body: bytes) -> None:
        count = properties.headers.get("x-delivery-count") if properties.headers else None
        # Of pika's own integer type, which the wire format does not know.
        redelivered = int(count) if isinstance(count, int) else 0
        try:
            chunk = wire.decode_chunk(body, run_id=self._queues.run_id)
        except Undeliverable as problem:
            self._refuse(token, body, problem, redelivered)
            return
        self._held[token] = chunk.chunk_id
        self._arrivals.put(Delivery(chunk, chunk.retries + redelivered + 1, redelivered, token))

    def _refuse(self, token: Token, body: bytes, problem: Undeliverable, redelivered: int) -> None:
        letter = refused(
            body,
            problem,
            run_id=self._queues.run_id,
            attempt=redelivered + 1,
            worker_id=self._worker_id,
        )
        self._refused += 1
        self._confirms.publish(Outgoing(self._queues.dlq, wire.encode(letter), PERSISTENT_DEAD_LETTER, token))

    def _publish_outgoing(self) -> None:
        self._wake_due = False
        outgoing = self._outgoing
        while self._attached and outgoing:
            self._confirms.publish(outgoing.popleft())

    def _on_safe(self, message: Outgoing) -> None:
        token: Token = message.token
        if token.intake is self._intake:
            token.intake.ack(token)
        self._held.pop(token, None)
        self._safe += 1

    def _publish_beat(self, body: bytes) -> None:
        channel = self._beat_channel
        if channel is not None and channel.is_open:
            channel.basic_publish(self._queues.heartbeats, "", body)
