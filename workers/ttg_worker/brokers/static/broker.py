"""No queue at all: the baseline that loses, as the first milestone did it.

The chunks are a list that every worker reads, and worker ``i`` of ``n`` owns those whose id is
``i - 1`` modulo ``n``. Nobody hands anything over, so there is no redelivery either: what a worker
that died had in hand, and all that was left of its share, is never computed. Results are lines
of a file. The URL is ``static:///FOLDER?workers=N``; where a worker's name does not end in its
number it names the share as well, from 0: ``&share=I``.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Delivery, DeliveryOptions, Outcome, QueueCounts, Recorded, Unreadable
from ttg_worker.brokers.static.files import LineFile, StaticFiles
from ttg_worker.brokers.tail import TICK_SECONDS, tail
from ttg_worker.errors import BrokerError
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, Heartbeat

BATCH: Final = 1000
T = TypeVar("T")


def static_url(folder: Path, *, workers: int, share: str | None = None) -> str:
    """The URL of a run whose shares are for so many workers; ``share`` is the one of whoever opens it."""
    url = f"static://{quote(str(folder))}?workers={workers}"
    return url if share is None else f"{url}&share={share}"


class StaticBroker:
    """See :class:`ttg_worker.brokers.base.Broker`; one folder is one run."""

    def __init__(self, url: str, *, options: DeliveryOptions) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        workers, share = query.get("workers", ""), query.get("share", "0")
        if not (parts.path and workers.isdecimal() and share.isdecimal() and int(share) < int(workers)):
            raise BrokerError(
                f"{url}: expected static:///FOLDER?workers=N, or …&share=I with I from 0 to N-1"
            )
        self._workers = int(workers)
        self._share = int(share) if "share" in query else None
        self._options = options
        self._files = StaticFiles(Path(unquote(parts.path)))

    def declare(self, run_id: str) -> None:
        self._files.make()

    def publisher(self, run_id: str) -> StaticPublisher:
        return StaticPublisher(self._files.plan)

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> StaticConsumer:
        """Unless the URL names the share, ``worker_id`` ends in its number, counted from 1; there is
        nothing to ack."""
        return StaticConsumer(
            self._files,
            run_id=run_id,
            worker_id=worker_id,
            share=self._share_of(worker_id) if self._share is None else self._share,
            shares=self._workers,
            retry_delay_seconds=self._options.retry_delay_seconds,
        )

    def _share_of(self, worker_id: str) -> int:
        number = re.search(r"\d+$", worker_id)
        if number is None or not 1 <= int(number[0]) <= self._workers:
            raise BrokerError(f"{worker_id} has no share: they are for workers 1 to {self._workers}")
        return int(number[0]) - 1

    def observer(self, run_id: str) -> StaticObserver:
        return StaticObserver(self._files)

    def trouble(self, run_id: str) -> str | None:
        return None

    def counts(self, run_id: str) -> QueueCounts:
        """``tasks`` are chunks that nobody has computed yet, whether anybody still will or not."""
        files = self._files
        if not files.exist:
            return QueueCounts(tasks=0, in_flight=0, retry=0, dead=0, results=0)
        results, dead = files.results.count(), files.dead_letters.count()
        left = max(0, files.plan.count() - results - dead)
        return QueueCounts(tasks=left, in_flight=0, retry=0, dead=dead, results=results)

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        raise BrokerError("fixed shares have no queue that a dead letter could be put back on")

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Does nothing: the file keeps all its lines."""

    def exists(self, run_id: str) -> bool:
        return self._files.exist

    def drop(self, run_id: str) -> None:
        self._files.remove()

    def close(self) -> None: ...


class StaticPublisher:
    """See :class:`ttg_worker.brokers.base.Publisher`."""

    def __init__(self, plan: LineFile) -> None:
        self._plan = plan

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        confirmed = 0
        rest = iter(chunks)
        while batch := [wire.encode(chunk) for chunk in islice(rest, BATCH)]:
            self._plan.append(batch)
            confirmed += len(batch)
            yield confirmed
        if not confirmed:
            yield 0

    def close(self) -> None: ...


class StaticConsumer:
    """See :class:`ttg_worker.brokers.base.Consumer`; retries are this worker's own affair."""

    def __init__(
        self,
        files: StaticFiles,
        *,
        run_id: str,
        worker_id: str,
        share: int,
        shares: int,
        retry_delay_seconds: float,
    ) -> None:
        self._files = files
        self._run_id = run_id
        self._worker_id = worker_id
        self._share = share
        self._shares = shares
        self._retry_delay_seconds = retry_delay_seconds
        self._position = 0
        self._mine: deque[Chunk] = deque()
        self._again: deque[tuple[float, Chunk]] = deque()
        self._in_hand: tuple[int, ...] = ()
        self._closed = False

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        chunk = self._next() if most > 0 and not self._in_hand and not self._closed else None
        if chunk is None:
            time.sleep(min(wait_seconds, TICK_SECONDS))
            return []
        self._in_hand = (chunk.chunk_id,)
        return [Delivery(chunk, chunk.retries + 1, 0, None)]

    def take_suspect(self) -> Delivery | None:
        """None: nobody else comes for the chunks of a worker that died."""
        return None

    def _next(self) -> Chunk | None:
        if self._again and self._again[0][0] <= time.monotonic():
            return self._again.popleft()[1]
        if not self._mine:
            for position, line in islice(self._files.plan.read(self._position), BATCH):
                self._position = position
                chunk = wire.decode_chunk(line, run_id=self._run_id)
                if chunk.chunk_id % self._shares == self._share:
                    self._mine.append(chunk)
        return self._mine.popleft() if self._mine else None

    def resize(self, prefetch: int) -> None:
        """Does nothing: the share is fixed."""

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        if outcome.results:
            self._files.results.append([wire.encode(result) for result in outcome.results])
        if outcome.letter is not None:
            self._files.dead_letters.append([wire.encode(outcome.letter)])
        if outcome.retry is not None:
            self._again.append((time.monotonic() + self._retry_delay_seconds, outcome.retry))
        self._in_hand = ()

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        """Keeps them for itself: the share is fixed."""
        self._mine.extendleft(delivery.chunk for delivery in reversed(deliveries))
        back = {delivery.chunk.chunk_id for delivery in deliveries}
        self._in_hand = tuple(chunk_id for chunk_id in self._in_hand if chunk_id not in back)

    def flush(self, *, timeout_seconds: float) -> bool:
        return True

    def held(self) -> tuple[int, ...]:
        """The chunk in hand, and those that wait here for another attempt."""
        return (*self._in_hand, *(chunk.chunk_id for _, chunk in tuple(self._again)))

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._files.write_heartbeat(heartbeat)

    def close(self) -> None:
        """There is nobody to give anything back to."""
        self._closed = True


class StaticObserver:
    """See :class:`ttg_worker.brokers.base.Observer`. A position is the place after a line."""

    def __init__(self, files: StaticFiles) -> None:
        self._files = files

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        return tail(lambda place: _messages(self._files.results, place, wire.decode_result), after=after)

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        letters = self._files.dead_letters
        return tail(lambda place: _messages(letters, place, wire.decode_dead_letter), after=after)

    def heartbeats(self) -> list[Heartbeat]:
        return self._files.read_heartbeats()

    def close(self) -> None: ...


def _messages(
    file: LineFile, place: int, decode: Callable[[bytes], T]
) -> Iterator[tuple[int, T | Unreadable]]:
    for after_line, line in file.read(max(0, place)):
        try:
            message: T | Unreadable = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            message = Unreadable(wire.printable(line), str(error))
        yield after_line, message
