"""Reading a run's results and dead letters from Redis, without changing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from ttg_worker import wire
from ttg_worker.backoff import Outage
from ttg_worker.brokers.base import Recorded, Unreadable
from ttg_worker.brokers.redis.connection import TIMEOUT_SECONDS, Keys, RedisLink
from ttg_worker.errors import BrokerUnavailable
from ttg_worker.wire import ChunkResult, DeadLetter, Heartbeat

# For how long an observer waits for a broker that is away.
PATIENCE_SECONDS: Final = 120.0
# A page is as many messages as make up the bytes, by the size of those before.
PAGE_MOST: Final = 1000
PAGE_BYTES: Final = 2_000_000
BLOCK_MS: Final = 50
# Heartbeats are asked for in between other work, so a broker that is away must not cost a wait each time.
BEATS_TIMEOUT_SECONDS: Final = 1.0

_SEQUENCE_BITS: Final = 20
T = TypeVar("T")


def position(entry: bytes) -> int:
    """A stream's entry id as one number: milliseconds, and 20 bits of the sequence within."""
    milliseconds, _, sequence = entry.partition(b"-")
    return int(milliseconds) << _SEQUENCE_BITS | int(sequence)


def entry_id(position: int) -> str:
    """The entry id of a position; for one before the first, that of the stream's start."""
    if position < 0:
        return "0-0"
    return f"{position >> _SEQUENCE_BITS}-{position & (1 << _SEQUENCE_BITS) - 1}"


class RedisObserver:
    """See :class:`ttg_worker.brokers.base.Observer`."""

    def __init__(self, url: str, keys: Keys) -> None:
        self._url = url
        self._keys = keys
        self._links: list[RedisLink] = []
        self._heartbeats: dict[str, Heartbeat] = {}
        self._beats_link = self._link(timeout_seconds=BEATS_TIMEOUT_SECONDS)
        self._beats_again_at = 0.0

    def results(self, *, after: int = -1) -> Iterator[Recorded[ChunkResult | Unreadable] | None]:
        return self._tail(self._keys.results, wire.decode_result, after=after)

    def dead_letters(self, *, after: int = -1) -> Iterator[Recorded[DeadLetter | Unreadable] | None]:
        return self._tail(self._keys.dlq, wire.decode_dead_letter, after=after)

    def heartbeats(self) -> list[Heartbeat]:
        if time.monotonic() >= self._beats_again_at:
            try:
                bodies = self._beats_link.command("HVALS", self._keys.heartbeats)
            except BrokerUnavailable:
                # The last ones known stand; that the broker is away is seen by the results' reader.
                self._beats_again_at = time.monotonic() + BEATS_TIMEOUT_SECONDS
            else:
                for body in bodies:
                    # Heartbeats only inform; what is none informs of nothing.
                    with suppress(msgspec.DecodeError, UnicodeDecodeError):
                        heartbeat = wire.decode_heartbeat(body)
                        self._heartbeats[heartbeat.worker_id] = heartbeat
        return list(self._heartbeats.values())

    def close(self) -> None:
        for link in self._links:
            link.close()

    def _link(self, *, timeout_seconds: float) -> RedisLink:
        link = RedisLink(self._url, timeout_seconds=timeout_seconds)
        self._links.append(link)
        return link

    def _tail(
        self, key: str, decode: Callable[[bytes], T], *, after: int
    ) -> Iterator[Recorded[T | Unreadable] | None]:
        link = self._link(timeout_seconds=TIMEOUT_SECONDS)
        outage = Outage(patience_seconds=PATIENCE_SECONDS)
        page = 50
        last: bytes | str = entry_id(after)
        while True:
            try:
                reply = link.command("XREAD", "COUNT", page, "BLOCK", BLOCK_MS, "STREAMS", key, last)
            except BrokerUnavailable as error:
                time.sleep(min(outage.pause_after(error), 0.25))
                yield None
                continue
            outage.over()
            if not reply:
                yield None
                continue
            entries = reply[0][1]
            for entry, fields in entries:
                yield Recorded(position(entry), _decoded(fields, decode))
            if len(entries) < page:
                # All there is for now, however soon the next one comes: readers have more to do.
                yield None
            last = entries[-1][0]
            size = sum(len(field) for _, fields in entries for field in fields) / len(entries)
            page = max(1, min(PAGE_MOST, int(PAGE_BYTES / max(size, 1.0))))


def _decoded(fields: list[bytes], decode: Callable[[bytes], T]) -> T | Unreadable:
    # The one field that our own messages have; anything else is shown as what it is.
    if len(fields) != 2 or fields[0] != b"body":
        return Unreadable(wire.printable(b" ".join(fields)), "an entry without the one field 'body'")
    try:
        return decode(fields[1])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Unreadable(wire.printable(fields[1]), str(error))
