"""The protocols that every broker keeps; one contract test suite holds all of them to it.

Four roles a run: ``ttg.tasks`` (work), ``ttg.tasks.retry`` (delayed work), ``ttg.tasks.dlq``
(given up) and ``ttg.results``. Nothing in them is shared between runs. Every method may raise
:class:`~ttg_worker.errors.BrokerUnavailable` (try again later) or
:class:`~ttg_worker.errors.BrokerError` (do not).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, Heartbeat

TASKS: Final = "ttg.tasks"
RETRY: Final = "ttg.tasks.retry"
DLQ: Final = "ttg.tasks.dlq"
RESULTS: Final = "ttg.results"
ROLES: Final = (TASKS, RESULTS, RETRY, DLQ)
# A chunk whose workers died so often may be why: from then on it is computed with nothing beside it.
SUSPECT_DEATHS: Final = 3


@dataclass(frozen=True, kw_only=True)
class DeliveryOptions:
    """How a run's chunks are delivered; part of the queues, so the same for all who use a run.

    ``max_attempts`` bounds the attempts that failed, for each parameter; ``delivery_limit`` bounds how
    often a chunk is begun again after its whole worker died. ``lease_seconds`` is how long a silent worker
    keeps its chunks.
    """

    max_attempts: int = 3
    retry_delay_seconds: float = 1.0
    lease_seconds: float = 5.0
    delivery_limit: int = 20


class Delivery(NamedTuple):
    """One hand-over of a chunk. ``attempt`` counts deliveries from 1, crashes and retries alike.

    ``redelivered`` counts those that followed a crash. ``token`` is the broker's own.
    """

    chunk: Chunk
    attempt: int
    redelivered: int
    token: Any


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """Messages by role, as the broker says; None where it can't say and the ledger must."""

    tasks: int
    in_flight: int | None
    retry: int
    dead: int | None
    results: int | None

    @property
    def drained(self) -> bool:
        """Whether no chunk waits for a worker or is with one, as far as the broker can say."""
        return not (self.tasks or self.retry or self.in_flight)


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T_co]):
    """A message at its place: positions grow in the order of recording and never repeat."""

    position: int
    message: T_co


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message among the results or dead letters that is neither, and why it is not."""

    body: str
    error: str


class Publisher(Protocol):
    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        """Publishes in order, pipelined; yields how many of them are confirmed so far.

        The last number yielded is the number of chunks given. Confirmed means safe against a
        crash of the broker. After :class:`BrokerUnavailable` any unconfirmed one may or may not
        be there.
        """

    def close(self) -> None: ...


class Outcome(NamedTuple):
    """What became of a delivery. Its parts name each parameter of the delivery's chunk once: values, and
    what failed, for another attempt or given up."""

    results: Sequence[ChunkResult] = ()
    retry: Chunk | None = None
    letter: DeadLetter | None = None


class Consumer(Protocol):
    """One worker's end. Not thread-safe but for :meth:`heartbeat` and :meth:`held`.

    Leases or heartbeats are served in the background, also while the caller does something else. When the
    broker goes away the consumer reconnects with backoff (``on_reconnect`` hears of it) and
    goes on; what was held then is delivered again, and settling it from the old delivery
    still records the outcome.
    """

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        """At most ``most`` deliveries, in the order of the hand-over. Waits up to ``wait_seconds`` for the
        first of them and for none after it; empty where none came."""

    def take_suspect(self) -> Delivery | None:
        """One chunk that was with workers which died, :data:`SUSPECT_DEATHS` times or more; None where
        there is none.

        Such chunks come by no other way. The caller has nothing else in hand and begins it now: so this
        counts, and after ``delivery_limit`` times the chunk goes to the DLQ. What merely waited beside the
        chunk that killed its worker is never given up.
        """

    def resize(self, prefetch: int) -> None:
        """From now on holds at most ``prefetch`` chunks, those that the caller took included."""

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        """All parts of the outcome are made safe first, then the chunk is acked; both later, in batches.

        A retry comes back after the run's retry delay.
        """

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Gives these, not begun, and what was not taken yet to whichever worker asks, soon. That is no
        crash and no attempt, so it counts as nothing."""

    def flush(self, *, timeout_seconds: float) -> bool:
        """Waits until all of the above is safe; False when it is not by then."""

    def held(self) -> tuple[int, ...]:
        """Ids of the chunks handed over that have no safe result yet, the oldest first."""

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Tells observers, best effort: never waits for the broker, never raises."""

    def close(self) -> None:
        """Gives back what is held, at once, to be delivered again. Flush first."""


class Observer(Protocol):
    """Reads a run without changing it; any number of observers see the same."""

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        """All results whose position is greater than ``after``, in order, as they come.

        Yields None, soon, whenever there is nothing more for now; never ends, and reconnects by
        itself. Raises :class:`BrokerUnavailable` only when ``patience_seconds`` (below) is over.
        """

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        """The same for the DLQ, what the broker itself dead-lettered included."""

    def heartbeats(self) -> list[Heartbeat]:
        """The newest heartbeat of each worker heard of so far; returns at once."""

    def close(self) -> None: ...


class Broker(Protocol):
    """Opened on one URL with one set of :class:`DeliveryOptions`; connects when first used."""

    def declare(self, run_id: str) -> None:
        """Makes the run's queues; does nothing where they are there. Waits for no broker."""

    def publisher(self, run_id: str) -> Publisher: ...

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> Consumer:
        """``unsafe_ack_early`` acks on hand-over: the negative control, it loses chunks."""

    def observer(self, run_id: str) -> Observer: ...

    def counts(self, run_id: str) -> QueueCounts: ...

    def trouble(self, run_id: str) -> str | None:
        """Why the broker, which is there, takes in no messages at the moment, and what helps; None while
        it takes them. To be asked about once a second."""

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Puts a dead letter's chunk back on ``ttg.tasks``, its history kept, its retries at 0.

        Where the DLQ can forget one entry it does so in the same step; a stream can't, there the
        ledger knows. Raises :class:`BrokerError` for a letter that holds no chunk.
        """

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Forgets a dead letter, where the DLQ can forget one entry."""

    def exists(self, run_id: str) -> bool:
        """Whether the broker holds this run's queues."""

    def drop(self, run_id: str) -> None:
        """Removes this run's queues and nothing else; fine when there are none."""

    def close(self) -> None: ...
