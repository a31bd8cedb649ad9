"""A broker in this process's memory, one a URL: for tests of what works through brokers.

It keeps the leases of the Redis broker, and :meth:`MemoryBroker.kill` plays the death of a
worker. Nothing is encoded but for :meth:`MemoryBroker.put_raw`, and nothing survives the process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from ttg_worker import wire
from ttg_worker.brokers import register_backend
from ttg_worker.brokers.attempts import crashed_too_often, refused, replayed
from ttg_worker.brokers.base import (
    SUSPECT_DEATHS,
    Delivery,
    DeliveryOptions,
    Outcome,
    QueueCounts,
    Recorded,
    Unreadable,
)
from ttg_worker.brokers.tail import tail
from ttg_worker.errors import Undeliverable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, Heartbeat

TICK_SECONDS: Final = 0.05


@dataclass
class _Task:
    """``deliveries`` so far, and how often a suspect was ``begun``; ``holder`` has it now."""

    body: Chunk | bytes
    deliveries: int = 0
    begun: int = 0
    holder: MemoryConsumer | None = None


@dataclass
class _Log:
    """Messages by position, none of them ever used again."""

    messages: dict[int, object] = field(default_factory=dict)
    last: int = -1

    def append(self, message: object) -> None:
        self.last += 1
        self.messages[self.last] = message


@dataclass
class _Run:
    tasks: deque[_Task] = field(default_factory=deque)
    suspects: deque[_Task] = field(default_factory=deque)
    in_flight: list[_Task] = field(default_factory=list)
    retry: list[tuple[float, Chunk]] = field(default_factory=list)
    results: _Log = field(default_factory=_Log)
    dead: _Log = field(default_factory=_Log)
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)


class MemoryBroker:
    """See :class:`ttg_worker.brokers.base.Broker`. Safe to use from several threads."""

    _by_url: ClassVar[dict[str, MemoryBroker]] = {}

    def __init__(self, options: DeliveryOptions) -> None:
        self._options = options
        self._runs: dict[str, _Run] = {}
        self._consumers: list[MemoryConsumer] = []
        self.changed = threading.Condition(threading.RLock())

    @classmethod
    def at(cls, url: str, *, options: DeliveryOptions) -> MemoryBroker:
        """This process's one broker of that URL; the options are those of who asks first."""
        return cls._by_url.setdefault(url, cls(options))

    def kill(self, worker_id: str) -> None:
        """As if this worker had died: its leases run out from now on, and it is handed nothing more.

        Its consumer can still settle what it had, as one that was only cut off could.
        """
        with self.changed:
            for consumer in self._consumers:
                if consumer.worker_id == worker_id and consumer.dead_since is None:
                    consumer.dead_since = time.monotonic()

    def put_raw(self, run_id: str, body: bytes) -> None:
        """Puts a message of any content on the tasks, as a foreign program could."""
        with self.changed:
            self.run(run_id).tasks.append(_Task(body))
            self.changed.notify_all()

    def declare(self, run_id: str) -> None:
        with self.changed:
            self._runs.setdefault(run_id, _Run())

    def publisher(self, run_id: str) -> MemoryPublisher:
        return MemoryPublisher(self, run_id)

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> MemoryConsumer:
        consumer = MemoryConsumer(
            self, run_id, worker_id, prefetch=prefetch, unsafe_ack_early=unsafe_ack_early
        )
        with self.changed:
            self._consumers.append(consumer)
        return consumer

    def observer(self, run_id: str) -> MemoryObserver:
        return MemoryObserver(self, run_id)

    def trouble(self, run_id: str) -> str | None:
        return None

    def counts(self, run_id: str) -> QueueCounts:
        with self.changed:
            run = self._runs.get(run_id) or _Run()
            self._advance(run)
            return QueueCounts(
                tasks=len(run.tasks) + len(run.suspects),
                in_flight=len(run.in_flight),
                retry=len(run.retry),
                dead=len(run.dead.messages),
                results=len(run.results.messages),
            )

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Does nothing where the letter is no longer in the DLQ."""
        again = replayed(letter)
        with self.changed:
            if self.run(run_id).dead.messages.pop(letter.position, None) is not None:
                self.put(run_id, again)

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        with self.changed:
            self.run(run_id).dead.messages.pop(letter.position, None)

    def exists(self, run_id: str) -> bool:
        with self.changed:
            return run_id in self._runs

    def drop(self, run_id: str) -> None:
        with self.changed:
            self._runs.pop(run_id, None)

    def close(self) -> None:
        """Keeps everything: the next who asks for the URL finds it."""

    # For the other classes of this module, who hold ``changed``.

    def run(self, run_id: str) -> _Run:
        return self._runs.setdefault(run_id, _Run())

    def put(self, run_id: str, chunk: Chunk) -> None:
        self.run(run_id).tasks.append(_Task(chunk))
        self.changed.notify_all()

    def take(self, consumer: MemoryConsumer) -> Delivery | None:
        """The next task for this consumer."""
        run = self.run(consumer.run_id)
        self._advance(run)
        while run.tasks:
            task = run.tasks.popleft()
            if task.deliveries >= SUSPECT_DEATHS:
                run.suspects.append(task)
                continue
            delivery = self._delivery(task, consumer)
            if delivery is not None:
                return delivery
        return None

    def take_suspect(self, consumer: MemoryConsumer) -> Delivery | None:
        run = self.run(consumer.run_id)
        self._advance(run)
        while run.suspects:
            task = run.suspects.popleft()
            task.begun += 1
            delivery = self._delivery(task, consumer)
            if delivery is not None:
                return delivery
        return None

    def _advance(self, run: _Run) -> None:
        """Retries that are due and chunks whose lease is over go back on the tasks."""
        now = time.monotonic()
        for due_at, chunk in [pair for pair in run.retry if pair[0] <= now]:
            run.retry.remove((due_at, chunk))
            run.tasks.append(_Task(chunk))
        for task in list(run.in_flight):
            since = task.holder.dead_since if task.holder else None
            if since is not None and now >= since + self._options.lease_seconds:
                run.in_flight.remove(task)
                run.tasks.appendleft(task)

    def _delivery(self, task: _Task, consumer: MemoryConsumer) -> Delivery | None:
        redelivered = task.deliveries
        begun_before = task.begun - 1
        body = wire.encode(task.body) if isinstance(task.body, Chunk) else task.body
        try:
            chunk = wire.decode_chunk(body, run_id=consumer.run_id)
        except Undeliverable as error:
            refusal = refused(
                body, error, run_id=consumer.run_id, attempt=redelivered + 1, worker_id=consumer.worker_id
            )
            self.bury(refusal)
            return None
        limit = self._options.delivery_limit
        if begun_before > limit:
            worker_id = consumer.worker_id
            self.bury(crashed_too_often(chunk, redelivered=begun_before, limit=limit, worker_id=worker_id))
            return None
        task.deliveries += 1
        task.holder = consumer
        if not consumer.unsafe_ack_early:
            self.run(consumer.run_id).in_flight.append(task)
        return Delivery(chunk, chunk.retries + redelivered + 1, redelivered, task)

    def bury(self, letter: DeadLetter) -> None:
        self.run(letter.run_id).dead.append(letter)

    def retry_later(self, consumer: MemoryConsumer, chunk: Chunk) -> None:
        due_at = time.monotonic() + self._options.retry_delay_seconds
        self.run(consumer.run_id).retry.append((due_at, chunk))


class MemoryPublisher:
    """See :class:`ttg_worker.brokers.base.Publisher`."""

    def __init__(self, broker: MemoryBroker, run_id: str) -> None:
        self._broker = broker
        self._run_id = run_id

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        confirmed = 0
        for chunk in chunks:
            with self._broker.changed:
                self._broker.put(self._run_id, chunk)
            confirmed += 1
            yield confirmed
        if not confirmed:
            yield 0

    def close(self) -> None: ...


class MemoryConsumer:
    """See :class:`ttg_worker.brokers.base.Consumer`. Settles at once, so there is nothing to flush."""

    def __init__(
        self,
        broker: MemoryBroker,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool,
    ) -> None:
        self.run_id = run_id
        self.worker_id = worker_id
        self.unsafe_ack_early = unsafe_ack_early
        self.dead_since: float | None = None
        self._broker = broker
        self._prefetch = prefetch
        self._held: list[Delivery] = []
        self._closed = False

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        with self._broker.changed:
            found = self._take(most)
            if not found and wait_seconds > 0:
                self._broker.changed.wait(min(wait_seconds, TICK_SECONDS))
                found = self._take(most)
        return found

    def _take(self, most: int) -> list[Delivery]:
        found: list[Delivery] = []
        while self._may_take and len(found) < most:
            delivery = self._broker.take(self)
            if delivery is None:
                break
            found.append(delivery)
            self._held.append(delivery)
        return found

    @property
    def _may_take(self) -> bool:
        return not self._closed and self.dead_since is None and len(self._held) < self._prefetch

    def take_suspect(self) -> Delivery | None:
        with self._broker.changed:
            delivery = self._broker.take_suspect(self) if self._may_take else None
            if delivery is not None:
                self._held.append(delivery)
            return delivery

    def resize(self, prefetch: int) -> None:
        self._prefetch = prefetch

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        with self._broker.changed:
            self.record(outcome)
            self.end(delivery, outcome)

    def record(self, outcome: Outcome) -> None:
        """The first half of :meth:`settle`: the results are safe."""
        with self._broker.changed:
            for result in outcome.results:
                self._broker.run(self.run_id).results.append(result)

    def end(self, delivery: Delivery, outcome: Outcome) -> None:
        """The second half: the task is acked, and what is to come of it is there."""
        with self._broker.changed:
            if not self._end(delivery, decides=outcome.retry is None and outcome.letter is None):
                return
            if outcome.retry is not None:
                self._broker.retry_later(self, outcome.retry)
            if outcome.letter is not None:
                self._broker.bury(outcome.letter)

    def forget(self) -> None:
        """What was held is somebody else's."""
        self._held.clear()

    def _end(self, delivery: Delivery, *, decides: bool = False) -> bool:
        """Ends the task; whether it was still this consumer's to decide on. A whole result ends it whoever
        has it by now."""
        self._held = [held for held in self._held if held.token is not delivery.token]
        task: _Task = delivery.token
        run = self._broker.run(self.run_id)
        mine = self.unsafe_ack_early or (task.holder is self and task in run.in_flight)
        if (mine or decides) and task in run.in_flight:
            run.in_flight.remove(task)
        return mine

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        with self._broker.changed:
            run = self._broker.run(self.run_id)
            for delivery in deliveries:
                if self._end(delivery):
                    task: _Task = delivery.token
                    task.deliveries -= 1
                    run.tasks.append(task)
            self._broker.changed.notify_all()

    def flush(self, *, timeout_seconds: float) -> bool:
        return True

    def held(self) -> tuple[int, ...]:
        with self._broker.changed:
            return tuple(delivery.chunk.chunk_id for delivery in self._held)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        with self._broker.changed:
            self._broker.run(self.run_id).heartbeats[heartbeat.worker_id] = heartbeat

    def close(self) -> None:
        with self._broker.changed:
            self._closed = True
            self.hand_back(self._held)


class MemoryObserver:
    """See :class:`ttg_worker.brokers.base.Observer`."""

    def __init__(self, broker: MemoryBroker, run_id: str) -> None:
        self._broker = broker
        self._run_id = run_id

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        return tail(lambda place: self._news(self._run.results, place), after=after)

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        return tail(lambda place: self._news(self._run.dead, place), after=after)

    @property
    def _run(self) -> _Run:
        with self._broker.changed:
            return self._broker.run(self._run_id)

    def _news(self, log: _Log, place: int) -> list[tuple[int, Any]]:
        with self._broker.changed:
            return [(position, message) for position, message in log.messages.items() if position > place]

    def heartbeats(self) -> list[Heartbeat]:
        with self._broker.changed:
            return list(self._run.heartbeats.values())

    def close(self) -> None: ...


register_backend("memory", scheme="memory", opener=lambda url, options: MemoryBroker.at(url, options=options))
