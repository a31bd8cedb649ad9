"""A connection to RabbitMQ that lives on its own thread and comes back when it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import pika
from pika.adapters.select_connection import IOLoop

from ttg_worker.backoff import Outage
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.errors import BrokerError, BrokerUnavailable

# Twice this at the most, and a worker that is told to leave must not take long.
_CLOSE_SECONDS: Final = 1.0


class Link:
    """Keeps one AMQP connection open, with backoff and jitter after a loss.

    Everything that touches the connection or its channels runs on the link's thread: the
    callbacks given here, and what :meth:`call` is given. ``opened`` gets each new connection,
    opens its channels and then calls :meth:`ready`; ``lost`` is called when a connection is gone;
    ``failed`` when the link gives up, which it does at once when the broker refuses, and when it
    was away for longer than ``patience_seconds`` (None: never). ``say`` takes a line for a person.
    ``blocked`` is why the broker takes no messages on this connection just now, None while it does.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        name: str,
        heartbeat_seconds: int,
        opened: Callable[[pika.SelectConnection], None],
        lost: Callable[[], None],
        failed: Callable[[], None],
        patience_seconds: float | None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.failure: BrokerError | None = None
        self.blocked: str | None = None
        self._endpoint = endpoint
        self._name = name
        self._heartbeat_seconds = heartbeat_seconds
        self._opened = opened
        self._lost = lost
        self._failed = failed
        self._outage = Outage(patience_seconds=patience_seconds)
        self._say = say or (lambda line: None)
        self._loop = IOLoop()
        self._connection: pika.SelectConnection | None = None
        self._cause: BaseException | None = None
        self._closing = False
        self._over = False
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"amqp {name}", daemon=True)

    def start(self) -> None:
        """Connects, if it was not told to before; from any thread."""
        with self._starting:
            if self._thread.ident is None and not self._over:
                self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Runs ``function`` on the link's thread, soon; from any thread. Does nothing once it ended."""
        with self._lock:
            if not self._over:
                self._loop.add_callback_threadsafe(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """The same after a while; only from the link's thread."""
        self._loop.call_later(seconds, function)

    def ready(self) -> None:
        """The owner's channels are open: the connection counts as back."""
        if self._outage.failures:
            seconds = self._outage.seconds
            self._say(f"connected to the broker at {self._endpoint.address} again after {seconds:.1f} s")
        self._outage.over()

    def drop(self, cause: BaseException) -> None:
        """Gives the connection up because of what happened on one of its channels."""
        self._cause = self._cause or cause
        if self._connection is not None and self._connection.is_open:
            self._connection.close()

    def close(self) -> None:
        """Ends connection and thread; what was sent before still goes out if the broker takes it."""
        if self._thread.ident is None:
            self._end()
            return
        self.call(self._close)
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            self.call(self._loop.stop)
            self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._connect()
            while not self._serve():
                pass
        except Exception as error:
            # Whoever waits for this thread must not wait for ever.
            self._give_up(
                BrokerError(f"the connection to {self._endpoint.address} broke down: {error!r}"), error
            )
        finally:
            self._end()

    def _serve(self) -> bool:
        """Whether the link has ended."""
        try:
            self._loop.start()
        except ValueError as error:
            # pika lets this one out when the other side hangs up the moment it was connected to.
            if self._connection is None or self._connection.is_open:
                raise
            self._on_gone(self._connection, error)
            return self._closing or self.failure is not None
        return True

    def _end(self) -> None:
        with self._lock:
            if not self._over:
                self._over = True
                self._loop.close()

    def _connect(self) -> None:
        if self._closing:
            return
        self._outage.begin()
        self._connection = GatheringConnection(
            self._endpoint.parameters(name=self._name, heartbeat_seconds=self._heartbeat_seconds),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_gone,
            on_close_callback=self._on_gone,
            custom_ioloop=self._loop,
        )

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._opened(connection)

    def _on_blocked(self, connection: pika.SelectConnection, frame: Any) -> None:
        reason = frame.method.reason
        self.blocked = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        self._say(f"the broker at {self._endpoint.address} takes no messages for now: {self.blocked}")

    def _on_unblocked(self, connection: pika.SelectConnection, frame: Any) -> None:
        self.blocked = None
        self._say(f"the broker at {self._endpoint.address} takes messages again")

    def _on_gone(self, connection: pika.SelectConnection, error: BaseException) -> None:
        if connection is not self._connection:
            return  # one that was given up on
        cause, self._cause, self._connection = self._cause or error, None, None
        self.blocked = None
        self._lost()
        if self._closing:
            self._loop.stop()
            return
        self._outage.begin()
        problem = self._endpoint.translated(cause)
        if not isinstance(problem, BrokerUnavailable) or self._outage.beyond_patience:
            self._give_up(problem, cause)
            self._loop.stop()
            return
        if not self._outage.failures:
            self._say(f"{problem}; trying again")
        self._loop.call_later(self._outage.failed(problem), self._connect)

    def _give_up(self, failure: BrokerError, cause: BaseException) -> None:
        failure.__cause__ = cause
        self.failure = failure
        self._failed()

    def _close(self) -> None:
        self._closing = True
        if self._connection is not None and not self._connection.is_closed:
            if not self._connection.is_closing:
                self._connection.close()
        else:
            self._loop.stop()


class GatheringConnection(pika.SelectConnection):  # type: ignore[misc]  # pika has no types for mypy
    """pika hands each frame, three a message, to the socket by itself.

    Together they cost both ends about half the time: the broker wakes once for many.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._gathered: list[bytes] = []
        super().__init__(*arguments, **options)

    def _adapter_emit_data(self, data: bytes) -> None:
        # The hook that pika's own adapters fill, each in its way.
        if not self._gathered:
            self.ioloop.add_callback_threadsafe(self._emit_gathered)
        self._gathered.append(data)

    def _emit_gathered(self) -> None:
        frames, self._gathered = self._gathered, []
        if not self.is_closed:
            super()._adapter_emit_data(b"".join(frames))
