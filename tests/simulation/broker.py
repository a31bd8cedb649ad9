"""The broker of a simulated run: the one in memory, seen by each client over a network that fails it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from simulation.scheduler import Process
from simulation.standard_library import scheduler
from support.memory_broker import MemoryBroker, MemoryConsumer
from ttg_worker.brokers.base import Delivery, DeliveryOptions, Outcome, QueueCounts, Recorded, Unreadable
from ttg_worker.brokers.tail import tail
from ttg_worker.errors import BrokerUnavailable
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, Heartbeat

RUN: Final = "r"
LATENCY_SECONDS: Final = 0.003
AWAY_TICK_SECONDS: Final = 0.05
TOLD_AGAIN: Final = 3


class Network:
    """The broker's server and the ways to it. ``down``: nobody reaches it; its messages are on disk."""

    def __init__(self, options: DeliveryOptions, *, full: Callable[[], str | None]) -> None:
        self.memory = MemoryBroker(options)
        self.down = True
        # Whoever wants to reach it can't, though it runs.
        self.out_of_reach = False
        self.trouble = full
        self.consumers: list[SimulatedConsumer] = []
        # (chunk, worker, when) of every hand-over.
        self.deliveries: list[tuple[int, str, float]] = []
        self.starts = 1

    @property
    def uid(self) -> str:
        """Changes with each start."""
        return f"broker@{self.starts}"

    def reach(self) -> None:
        """A round trip, or :class:`BrokerUnavailable`."""
        scheduler().sleep(scheduler().random.random() * LATENCY_SECONDS)
        if self.away:
            raise BrokerUnavailable("the simulated broker does not answer")

    @property
    def away(self) -> bool:
        return self.down or self.out_of_reach

    def go_down(self) -> None:
        """Its clients lose their connections, and with them what they hold."""
        self.down = True
        self._cut_all()

    def go_out_of_reach(self) -> None:
        self.out_of_reach = True
        self._cut_all()

    def _cut_all(self) -> None:
        for consumer in self.consumers:
            consumer.lose()

    def come_up(self) -> None:
        if self.down:
            self.down = False
            self.starts += 1

    @property
    def outstanding(self) -> set[int]:
        """The chunks that may still come to somebody."""
        run = self.memory.run(RUN)
        tasks = [*run.tasks, *run.suspects, *run.in_flight]
        found = {task.body.chunk_id for task in tasks if isinstance(task.body, Chunk)}
        return found | {chunk.chunk_id for _, chunk in run.retry}


class Client:
    """See :class:`ttg_worker.brokers.base.Broker`; of one process."""

    def __init__(self, network: Network) -> None:
        self._network = network
        current = scheduler().current
        assert current is not None
        self._process = current.process

    def declare(self, run_id: str) -> None:
        self._network.reach()
        self._network.memory.declare(run_id)

    def publisher(self, run_id: str) -> SimulatedPublisher:
        return SimulatedPublisher(self._network, run_id)

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> SimulatedConsumer:
        inner = self._network.memory.consumer(
            run_id, worker_id, prefetch=prefetch, unsafe_ack_early=unsafe_ack_early
        )
        consumer = SimulatedConsumer(self._network, inner, self._process)
        self._network.consumers.append(consumer)
        return consumer

    def observer(self, run_id: str) -> SimulatedObserver:
        return SimulatedObserver(self._network, run_id)

    def counts(self, run_id: str) -> QueueCounts:
        self._network.reach()
        counts = self._network.memory.counts(run_id)
        # The answer is on its way while things go on.
        self._network.reach()
        return counts

    def trouble(self, run_id: str) -> str | None:
        return self._network.trouble()

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        self._network.reach()
        self._network.memory.replay(run_id, letter)

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        self._network.reach()
        self._network.memory.discard(run_id, letter)

    def exists(self, run_id: str) -> bool:
        self._network.reach()
        return self._network.memory.exists(run_id)

    def drop(self, run_id: str) -> None:
        self._network.reach()
        self._network.memory.drop(run_id)

    def close(self) -> None: ...


class SimulatedPublisher:
    def __init__(self, network: Network, run_id: str) -> None:
        self._network = network
        self._run_id = run_id

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        confirmed = 0
        for chunk in chunks:
            self._network.reach()
            while self._network.trouble() is not None:
                scheduler().sleep(AWAY_TICK_SECONDS)
            with self._network.memory.changed:
                self._network.memory.put(self._run_id, chunk)
            # The confirm gets lost, and not the chunk.
            self._network.reach()
            confirmed += 1
            yield confirmed
        if not confirmed:
            yield 0

    def close(self) -> None: ...


class SimulatedConsumer:
    """Reconnects as the real ones do: what it held is delivered again then, a result of it still counts."""

    def __init__(self, network: Network, inner: MemoryConsumer, process: Process) -> None:
        self._network = network
        self._inner = inner
        self.process = process
        self.worker_id = inner.worker_id
        self.cut = False
        # What is to be given back as soon as it is heard.
        self._owed: list[Delivery] = []

    @property
    def _away(self) -> bool:
        return self._network.away or self.cut

    def lose(self) -> None:
        """The connection is gone: its chunks go to whoever asks."""
        memory = self._network.memory
        run = memory.run(RUN)
        for task in [task for task in run.in_flight if task.holder is self._inner]:
            run.in_flight.remove(task)
            task.holder = None
            run.tasks.append(task)
        self._inner.forget()

    def fall_silent(self) -> None:
        """Its lease begins to run out."""
        if self._inner.dead_since is None:
            self._inner.dead_since = scheduler().monotonic()

    def be_heard(self) -> None:
        self._inner.dead_since = None

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        scheduler().let_others()
        if self._away:
            scheduler().sleep(min(wait_seconds, AWAY_TICK_SECONDS))
            return []
        if self._owed:
            self._inner.hand_back(self._owed)
            self._owed.clear()
        found = self._inner.take(most=most, wait_seconds=wait_seconds)
        if self._away:
            # It went away while it was asked, and its answer with it.
            self.lose()
            return []
        self._note(found)
        return found

    def take_suspect(self) -> Delivery | None:
        delivery = None if self._away else self._inner.take_suspect()
        if delivery is not None:
            self._note([delivery])
        return delivery

    def _note(self, found: Sequence[Delivery]) -> None:
        now = scheduler().time() - self.process.ahead_seconds
        self._network.deliveries += [(d.chunk.chunk_id, self.worker_id, now) for d in found]

    def resize(self, prefetch: int) -> None:
        self._inner.resize(prefetch)

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        self._wait()
        self.record(outcome)
        # Between the two anything may happen: a death, an outage.
        scheduler().sleep(scheduler().random.random() * LATENCY_SECONDS)
        self.end(delivery, outcome)

    def record(self, outcome: Outcome) -> None:
        self._inner.record(outcome)

    def end(self, delivery: Delivery, outcome: Outcome) -> None:
        if self._away:
            # The ack was lost on its way, and what it was of is delivered again.
            self._owed.append(delivery)
            return
        self._inner.end(delivery, outcome)

    def _wait(self) -> None:
        while self._away or self._network.trouble() is not None:
            scheduler().sleep(AWAY_TICK_SECONDS)

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        if self._away:
            self._owed += deliveries
        else:
            self._inner.hand_back(deliveries)

    def flush(self, *, timeout_seconds: float) -> bool:
        return True

    def held(self) -> tuple[int, ...]:
        return self._inner.held()

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        if not self._away:
            self._inner.heartbeat(heartbeat)

    def close(self) -> None:
        if self._away:
            # Nobody there to give it back to: its lease runs out.
            self.fall_silent()
        else:
            self._inner.close()


class SimulatedObserver:
    def __init__(self, network: Network, run_id: str) -> None:
        self._network = network
        self._inner = network.memory.observer(run_id)
        self._connected = network.starts

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        return tail(lambda place: self._news("results", place), after=after)

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        return tail(lambda place: self._news("dead", place), after=after)

    def _news(self, log: str, place: int) -> list[tuple[int, Any]]:
        if self._network.away:
            return []
        if self._connected != self._network.starts:
            # A stream that is opened again may tell again what it told.
            self._connected = self._network.starts
            place -= TOLD_AGAIN
        messages = getattr(self._network.memory.run(RUN), log).messages
        return [(position, message) for position, message in messages.items() if position > place]

    def heartbeats(self) -> list[Heartbeat]:
        return self._inner.heartbeats()

    def close(self) -> None: ...
