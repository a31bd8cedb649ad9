"""What a worker says of its chunks, on its way to the server in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.brokers.redis import scripts as scripts
from ttg_worker.brokers.redis.connection import GROUP, Keys, RedisLink

# A part is a result after which more of the same chunk comes; the others end the chunk.
Verb = Literal["part", "result", "retry", "dead"]

# What one script call takes; unpack() in Lua bears some thousands.
BATCH: Final = 100
BATCH_BYTES: Final = 8_000_000


class Outbox:
    """Keeps each word until the server has it, through any outage; safe to use from two threads.

    ``owner`` is the consumer whose retries and dead letters count; empty for a run whose chunks
    are acked before that. ``settled`` is told the entries whose word is safe.
    """

    def __init__(
        self,
        keys: Keys,
        options: DeliveryOptions,
        *,
        owner: str,
        settled: Callable[[Iterable[bytes]], None],
    ) -> None:
        self._keys = (keys.tasks, keys.results, keys.retry, keys.dlq)
        self._head = (GROUP, owner, int(options.retry_delay_seconds * 1000))
        self._settled = settled
        self._words: list[tuple[Verb, bytes, bytes]] = []
        self._since = 0.0
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    @property
    def full(self) -> bool:
        return len(self._words) >= BATCH

    @property
    def waiting_seconds(self) -> float:
        """How long the oldest word has waited; 0 when there is none."""
        return time.monotonic() - self._since if self._words else 0.0

    def put(self, entry: bytes, *words: tuple[Verb, bytes]) -> None:
        """What there is to say of an entry, with its verbs in this order."""
        with self._lock:
            if not self._words:
                self._since = time.monotonic()
            self._words.extend((verb, entry, body) for verb, body in words)

    def send(self, link: RedisLink) -> None:
        """All of it; what did not get out when this raises is still there."""
        with self._sending:
            while batch := self._batch():
                words = (word for settled in batch for word in settled)
                link.script(scripts.SETTLE, keys=self._keys, args=(*self._head, *words))
                with self._lock:
                    del self._words[: len(batch)]
                    self._since = time.monotonic()
                self._settled(entry for verb, entry, _ in batch if verb != "part")

    def _batch(self) -> list[tuple[Verb, bytes, bytes]]:
        batch = self._words[:BATCH]
        size = 0
        for index, (_, _, body) in enumerate(batch):
            size += len(body)
            if size > BATCH_BYTES:
                return batch[: max(1, index)]
        return batch
