"""Redis Streams (Redis 6.2 to 8, Valkey) as the broker.

A run's tasks are a stream with one consumer group, its results and its DLQ are streams that
nobody consumes, its retries a sorted set by due time. A result and the end of its task are one
step on the server. Messages are safe against a crash of a server that keeps an append-only
file, and only there against the loss of the machine's power if it syncs that file always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ttg_worker import wire
from ttg_worker.brokers.attempts import replayed
from ttg_worker.brokers.base import DeliveryOptions, QueueCounts, Recorded
from ttg_worker.brokers.redis import scripts as scripts
from ttg_worker.brokers.redis.connection import GROUP, Keys, NoGroup, RedisLink
from ttg_worker.brokers.redis.consumer import RedisConsumer
from ttg_worker.brokers.redis.observer import RedisObserver, entry_id
from ttg_worker.errors import BrokerFull
from ttg_worker.wire import Chunk, DeadLetter

BATCH_CHUNKS: Final = 500
BATCH_BYTES: Final = 4_000_000
PROBE_MS: Final = 2000


class RedisBroker:
    """See :class:`ttg_worker.brokers.base.Broker`."""

    def __init__(self, url: str, *, options: DeliveryOptions) -> None:
        self._url = url
        self._options = options
        self._link = RedisLink(url)

    def declare(self, run_id: str) -> None:
        self._link.declare(Keys(run_id))

    def publisher(self, run_id: str) -> RedisPublisher:
        return RedisPublisher(RedisLink(self._url), Keys(run_id))

    def consumer(
        self,
        run_id: str,
        worker_id: str,
        *,
        prefetch: int,
        unsafe_ack_early: bool = False,
        on_reconnect: Callable[[str], None] | None = None,
    ) -> RedisConsumer:
        return RedisConsumer(
            self._url,
            run_id=run_id,
            worker_id=worker_id,
            prefetch=prefetch,
            options=self._options,
            unsafe_ack_early=unsafe_ack_early,
            on_reconnect=on_reconnect,
        )

    def observer(self, run_id: str) -> RedisObserver:
        return RedisObserver(self._url, Keys(run_id))

    def counts(self, run_id: str) -> QueueCounts:
        keys = Keys(run_id)
        try:
            tasks, pending, retry, dead, results = self._link.transaction(
                ("XLEN", keys.tasks),
                ("XPENDING", keys.tasks, GROUP),
                ("ZCARD", keys.retry),
                ("XLEN", keys.dlq),
                ("XLEN", keys.results),
            )
        except NoGroup:
            return QueueCounts(tasks=0, in_flight=0, retry=0, dead=0, results=0)
        in_flight = pending[0]
        return QueueCounts(tasks - in_flight, in_flight, retry, dead, results)

    def trouble(self, run_id: str) -> str | None:
        try:
            # A write like any other, which is gone a moment later.
            self._link.command("SET", Keys(run_id).probe, "1", "PX", PROBE_MS)
        except BrokerFull as error:
            return str(error)
        return None

    def replay(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        """Does nothing where the letter is no longer in the DLQ."""
        chunk = replayed(letter)
        keys = Keys(run_id)
        self._link.script(
            scripts.REPLAY,
            keys=(keys.tasks, keys.dlq),
            args=(entry_id(letter.position), wire.encode(chunk)),
        )

    def discard(self, run_id: str, letter: Recorded[DeadLetter]) -> None:
        self._link.command("XDEL", Keys(run_id).dlq, entry_id(letter.position))

    def exists(self, run_id: str) -> bool:
        return bool(self._link.command("EXISTS", *Keys(run_id).all))

    def drop(self, run_id: str) -> None:
        self._link.command("UNLINK", *Keys(run_id).all)

    def close(self) -> None:
        self._link.close()


class RedisPublisher:
    """See :class:`ttg_worker.brokers.base.Publisher`."""

    def __init__(self, link: RedisLink, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        confirmed = 0
        for batch in _batches(chunks):
            self._link.script(scripts.PUBLISH, keys=(self._keys.tasks,), args=batch)
            confirmed += len(batch)
            yield confirmed
        if not confirmed:
            yield 0

    def close(self) -> None:
        self._link.close()


def _batches(chunks: Iterable[Chunk]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for chunk in chunks:
        body = wire.encode(chunk)
        batch.append(body)
        size += len(body)
        if len(batch) >= BATCH_CHUNKS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
