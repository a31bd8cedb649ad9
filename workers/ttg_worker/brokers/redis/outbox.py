"""What a worker says of its chunks, on its way to the server in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.brokers.redis import scripts as scripts
from ttg_worker.brokers.redis.connection import GROUP, Keys, RedisLink

# A part is a result after which more of the same chunk comes; the others end the chunk.
Verb = Literal["part", "result", "retry", "dead"]

# What one script call takes; unpack() in Lua bears some thousands.
BATCH: Final = 100
# How long a word may wait for more of them.
LINGER_SECONDS: Final = 0.02
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

    def put(self, entry: bytes, last: Verb, bodies: Sequence[bytes], *, now: float) -> bool:
        """What there is to say of an entry: parts, and at last what ends it; whether it is time to send.

        ``now`` is on the monotonic clock.
        """
        words = self._words
        with self._lock:
            if not words:
                self._since = now
            for body in bodies[:-1]:
                words.append(("part", entry, body))
            words.append((last, entry, bodies[-1]))
        return len(words) >= BATCH or now - self._since > LINGER_SECONDS

    def is_due(self, now: float) -> bool:
        """Whether a word has waited long enough."""
        return bool(self._words) and now - self._since > LINGER_SECONDS

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
