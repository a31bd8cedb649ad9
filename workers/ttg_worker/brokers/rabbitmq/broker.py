"""RabbitMQ: tasks and retries in quorum queues, results and dead letters in streams."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

from ttg_worker import wire
from ttg_worker.brokers.attempts import replayed
from ttg_worker.brokers.base import DeliveryOptions, QueueCounts, Recorded
from ttg_worker.brokers.rabbitmq.alarm_probe import AlarmProbe
from ttg_worker.brokers.rabbitmq.confirms import PERSISTENT
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.consumer import RabbitMQConsumer
from ttg_worker.brokers.rabbitmq.observer import RabbitMQObserver
from ttg_worker.brokers.rabbitmq.publisher import RabbitMQPublisher
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttg_worker.errors import BrokerError, BrokerUnavailable, QueuesGone
from ttg_worker.wire import DeadLetter

PATIENCE_SECONDS: Final = 120.0
_BLOCKED_SECONDS: Final = 10.0
_RECOVERY_SECONDS: Final = 10.0
_SETTLE_SECONDS: Final = 0.2


class RabbitMQBroker:
    """Implements :class:`~ttg_worker.brokers.base.Broker`.

    A stream can't forget a single entry, so :meth:`discard` leaves the DLQ as it is, and its
    length is not to be had by AMQP, so :meth:`counts` leaves that to the ledger.
    """

    def __init__(self, url: str, *, options: DeliveryOptions) -> None:
        self._endpoint = Endpoint(url)
        self._options = options
        self._connection: pika.BlockingConnection | None = None
        self._declared_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._probe: AlarmProbe | None = None
        # The broker takes a connection for dead after two intervals of silence: together one lease.
        self._heartbeat_seconds = max(2, math.ceil(options.lease_seconds / 2))

    def declare(self, run_id: str) -> None:
        queues = Queues(run_id)
        is_new = not self.exists(run_id)
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            try:
                self._declare(queues)
                break
            except BrokerUnavailable as error:
                # A node that just started again takes a moment more to open its streams.
                if _reply_code(error) != 404 or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
        if is_new:
            self._declared_at[run_id] = time.monotonic()

    def _declare(self, queues: Queues) -> None:
        with self._channel() as channel:
            limit_is_default = _major_version(self._connection) >= 4
            for name, arguments in queues.arguments(self._options, limit_is_default=limit_is_default).items():
                channel.queue_declare(name, durable=True, arguments=arguments)
            channel.exchange_declare(queues.heartbeats, exchange_type="fanout", durable=True)

    def publisher(self, run_id: str) -> RabbitMQPublisher:
        return RabbitMQPublisher(
            self._endpoint,
            Queues(run_id),
            heartbeat_seconds=self._heartbeat_seconds,
            declared_at=self._declared_at.get(run_id),
        )

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> RabbitMQConsumer:
        return RabbitMQConsumer(
            self._endpoint,
            Queues(run_id),
            worker_id,
            prefetch=prefetch,
            unsafe_ack_early=unsafe_ack_early,
            heartbeat_seconds=self._heartbeat_seconds,
            on_reconnect=on_reconnect,
        )

    def observer(self, run_id: str) -> RabbitMQObserver:
        return RabbitMQObserver(
            self._endpoint,
            Queues(run_id),
            delivery_limit=self._options.delivery_limit,
            patience_seconds=PATIENCE_SECONDS,
        )

    def counts(self, run_id: str) -> QueueCounts:
        queues = Queues(run_id)
        with self._channel() as channel:
            tasks = channel.queue_declare(queues.tasks, passive=True).method.message_count
            tasks += channel.queue_declare(queues.quarantine, passive=True).method.message_count
            retry = channel.queue_declare(queues.retry, passive=True).method.message_count
        return QueueCounts(tasks=tasks, in_flight=None, retry=retry, dead=None, results=None)

    def trouble(self, run_id: str) -> str | None:
        with self._lock:
            if self._probe is None:
                self._probe = AlarmProbe(self._endpoint, heartbeat_seconds=self._heartbeat_seconds)
        return self._probe.trouble

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        chunk = replayed(letter)
        with self._channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", Queues(run_id).tasks, wire.encode(chunk), PERSISTENT, mandatory=True)

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Does nothing: a stream keeps all its entries."""

    def exists(self, run_id: str) -> bool:
        # All of them: one that was deleted by somebody leaves no run that could go on.
        return all(self._has(name) for name in Queues(run_id).all)

    def _has(self, name: str) -> bool:
        try:
            with self._channel() as channel:
                channel.queue_declare(name, passive=True)
        except QueuesGone:
            return False
        return True

    def drop(self, run_id: str) -> None:
        queues = Queues(run_id)
        if self._has(queues.tasks):
            self._settle(queues)
        with self._channel() as channel:
            for name in queues.all:
                channel.queue_delete(name)
            channel.exchange_delete(queues.heartbeats)

    def _settle(self, queues: Queues) -> None:
        """Waits until the broker has begun to dead-letter from the run's queues.

        RabbitMQ 3 starts that in the background, and if a queue is deleted meanwhile it gives up
        dead-lettering, and with it every queue that asks for it, until it is started again.
        """
        try:
            with self._channel() as channel:
                for name in (queues.tasks, queues.quarantine, queues.retry):
                    channel.queue_purge(name)
        except BrokerError as error:
            if isinstance(error, BrokerUnavailable) or _reply_code(error) != 404:
                raise
        time.sleep(_SETTLE_SECONDS)

    def close(self) -> None:
        with self._lock:
            if self._probe is not None:
                self._probe.close()
            connection, self._connection = self._connection, None
            if connection is not None and connection.is_open:
                try:
                    connection.close()
                except pika.exceptions.AMQPError:
                    return  # it went away first, which is as good

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        """A fresh channel, as any refusal closes one; on a connection kept from call to call."""
        with self._lock:
            try:
                channel = self._open_connection().channel()
                yield channel
                if channel.is_open:
                    channel.close()
            except (pika.exceptions.AMQPError, OSError) as error:
                raise self._endpoint.translated(error) from error

    def _open_connection(self) -> pika.BlockingConnection:
        connection = self._connection
        if connection is not None and connection.is_open:
            try:
                # Notices a connection that the broker closed meanwhile.
                connection.process_data_events(time_limit=0)
                return connection
            except pika.exceptions.AMQPError:
                self._connection = None
        # Served during a call, so that a broker that froze is given up. Between calls nobody serves
        # them, and the broker hangs up after a while.
        parameters = self._endpoint.parameters(name="ttgctl", heartbeat_seconds=self._heartbeat_seconds)
        parameters.blocked_connection_timeout = _BLOCKED_SECONDS
        try:
            self._connection = pika.BlockingConnection(parameters)
        except Exception as error:
            # What pika raises here is of several families that share no other base.
            raise self._endpoint.translated(error) from error
        return self._connection


def _major_version(connection: pika.BlockingConnection | None) -> int:
    """Of the server, as it says itself; 0 where it does not."""
    properties = getattr(getattr(connection, "_impl", None), "server_properties", None) or {}
    version = properties.get("version", "")
    major = (version.decode() if isinstance(version, bytes) else str(version)).partition(".")[0]
    return int(major) if major.isdecimal() else 0


def _reply_code(error: BrokerError) -> int | None:
    return getattr(error.__cause__, "reply_code", None)
