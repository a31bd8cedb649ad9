"""A worker's end on RabbitMQ: an I/O thread keeps the connection alive while the caller computes."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import pika
import pika.exceptions

from ttg_worker import wire
from ttg_worker.brokers.attempts import refused
from ttg_worker.brokers.base import SUSPECT_DEATHS, Delivery, Outcome
from ttg_worker.brokers.rabbitmq.confirms import (
    CRASHES_HEADER,
    PERSISTENT,
    PERSISTENT_DEAD_LETTER,
    Confirms,
    Outgoing,
)
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.intake import Intake, Token
from ttg_worker.brokers.rabbitmq.link import Link
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttg_worker.errors import Undeliverable
from ttg_worker.wire import Heartbeat

# How often an idle worker looks for a chunk that it should compute with nothing beside it.
_SUSPECTS_SECONDS: Final = 0.25
# At its end a worker waits so long for a broker that may be away.
_HAND_BACK_SECONDS: Final = 1.0
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
        self._suspects: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._ask_for_suspects_at = 0.0
        self._outgoing: deque[Outgoing] = deque()
        self._wake_due = False
        self._sent = 0
        self._refused = 0
        self._safe = 0
        self._returning = 0
        self._held: dict[Token, Delivery] = {}
        self._attached = False
        self._taking = False
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

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        if not self._taking:
            self._taking = True
            self._link.start()
            self._link.call(self._take)
        deadline = time.monotonic() + wait_seconds
        deliveries: list[Delivery] = []
        while len(deliveries) < most:
            wait = 0.0 if deliveries else max(0.0, deadline - time.monotonic())
            try:
                delivery = self._arrivals.get(timeout=wait) if wait else self._arrivals.get_nowait()
            except queue.Empty:
                break
            if delivery is None:
                break
            token: Token = delivery.token
            # What came on a connection that is lost the broker delivers again.
            if token.intake is self._intake:
                token.taken = True
                deliveries.append(delivery)
        if self._link.failure is not None:
            raise self._link.failure
        if self._ack_early:
            for delivery in deliveries:
                self._ack_at_once(delivery.token)
        return deliveries

    def take_suspect(self) -> Delivery | None:
        try:
            while True:
                delivery = self._suspects.get_nowait()
                if delivery.token.intake is self._intake:
                    delivery.token.taken = True
                    return delivery
        except queue.Empty:
            pass
        if time.monotonic() >= self._ask_for_suspects_at:
            self._ask_for_suspects_at = time.monotonic() + _SUSPECTS_SECONDS
            self._link.call(self._get_suspect)
        return None

    def resize(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._link.call(self._resize)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        queues, token = self._queues, delivery.token
        messages = [
            Outgoing(queues.results, wire.encode(result), PERSISTENT, token) for result in outcome.results
        ]
        if outcome.retry is not None:
            messages.append(Outgoing(queues.retry, wire.encode(outcome.retry), PERSISTENT, token))
        if outcome.letter is not None:
            letter = wire.encode(outcome.letter)
            messages.append(Outgoing(queues.dlq, letter, PERSISTENT_DEAD_LETTER, token))
        token.answered, token.open_parts = True, len(messages)
        self._send(messages)

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        back = list(deliveries)
        with suppress(queue.Empty):
            while (delivery := self._arrivals.get_nowait()) is not None:
                back.append(delivery)
        here = [each for each in back if each.token.intake is self._intake and not each.token.answered]
        if here:
            # Of one that was taken from the arrivals and is among the given ones as well, one message.
            messages = [self._as_new(delivery) for delivery in {each.token: each for each in here}.values()]
            self._sent += len(messages)
            self._link.call(lambda: self._send_when_resized(messages))

    def _as_new(self, delivery: Delivery) -> Outgoing:
        """The chunk as a message that nobody was handed yet, but for the deaths of its workers."""
        token: Token = delivery.token
        token.taken, token.answered, token.open_parts = True, True, 1
        crashes = delivery.redelivered
        properties = (
            pika.BasicProperties(delivery_mode=2, headers={CRASHES_HEADER: crashes})
            if crashes
            else PERSISTENT
        )
        queue_name = self._queues.quarantine if token.is_suspect else self._queues.tasks
        return Outgoing(queue_name, wire.encode(delivery.chunk), properties, token)

    def flush(self, *, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while self._safe < self._sent + self._refused:
            if self._link.failure is not None or time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def held(self) -> tuple[int, ...]:
        # After a reconnection a chunk can be here twice, from before and after.
        held = self._held.copy().values()
        return tuple(dict.fromkeys(delivery.chunk.chunk_id for delivery in held))

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        body = wire.encode(heartbeat)
        self._link.start()
        self._link.call(lambda: self._publish_beat(body))

    def close(self) -> None:
        # The broker gives what a closed connection held to others at once, but takes it for a crash.
        if self._held and not self._ack_early and self._link.failure is None:
            self.resize(0)
            self.hand_back([each for each in self._held.copy().values() if not each.token.answered])
            self.flush(timeout_seconds=_HAND_BACK_SECONDS)
        self._link.close()

    def _send(self, messages: Sequence[Outgoing]) -> None:
        self._sent += len(messages)
        self._outgoing.extend(messages)
        if messages and not self._wake_due:
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
        # What waited to go back did so with the connection.
        self._safe, self._returning = self._safe + self._returning, 0
        for token in [token for token in self._held if not token.taken]:
            del self._held[token]

    def _on_unroutable(self, error: BaseException) -> None:
        self._attached = False
        self._link.drop(error)

    def _take(self) -> None:
        if self._taking and self._intake is not None:
            self._intake.start()

    def _get_suspect(self) -> None:
        if self._intake is not None:
            self._intake.get(self._queues.quarantine)

    def _resize(self) -> None:
        if self._intake is not None:
            self._intake.resize(self._prefetch)

    def _on_message(self, token: Token, properties: pika.BasicProperties, body: bytes) -> None:
        headers = properties.headers or {}
        # Of pika's own integer type, which the wire format does not know.
        counts = [headers.get(name) for name in ("x-delivery-count", CRASHES_HEADER)]
        redelivered = sum(int(count) for count in counts if isinstance(count, int) and count > 0)
        try:
            chunk = wire.decode_chunk(body, run_id=self._queues.run_id)
        except Undeliverable as problem:
            self._refuse(token, body, problem, redelivered)
            return
        delivery = Delivery(chunk, chunk.retries + redelivered + 1, redelivered, token)
        if token.is_suspect:
            self._held[token] = delivery
            self._suspects.put(delivery)
        elif redelivered >= SUSPECT_DEATHS:
            token.is_suspect = True
            self._refused += 1
            self._confirms.publish(self._as_new(delivery))
        else:
            self._held[token] = delivery
            self._arrivals.put(delivery)

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

    def _send_when_resized(self, messages: Sequence[Outgoing]) -> None:
        def send() -> None:
            self._returning -= len(messages)
            self._outgoing.extend(messages)
            self._publish_outgoing()

        if self._intake is not None:
            self._returning += len(messages)
            self._intake.when_resized(send)
        else:
            # The broker has them back already, with the connection that they came by.
            self._safe += len(messages)

    def _publish_outgoing(self) -> None:
        self._wake_due = False
        outgoing = self._outgoing
        while self._attached and outgoing:
            self._confirms.publish(outgoing.popleft())

    def _on_safe(self, message: Outgoing) -> None:
        token: Token = message.token
        token.open_parts -= 1
        if not token.open_parts:
            if token.intake is self._intake:
                token.intake.ack(token)
            self._held.pop(token, None)
        self._safe += 1

    def _publish_beat(self, body: bytes) -> None:
        channel = self._beat_channel
        if channel is not None and channel.is_open:
            channel.basic_publish(self._queues.heartbeats, "", body)
