"""One worker's end of a run on Redis: takes chunks, keeps their leases, settles them in batches."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ttg_worker import wire
from ttg_worker.backoff import Outage
from ttg_worker.brokers.attempts import crashed_too_often, refused
from ttg_worker.brokers.base import SUSPECT_DEATHS, Delivery, DeliveryOptions, Outcome
from ttg_worker.brokers.redis import scripts as scripts
from ttg_worker.brokers.redis.connection import GROUP, Keys, NoGroup, RedisLink
from ttg_worker.brokers.redis.outbox import Outbox, Verb
from ttg_worker.errors import BrokerError, BrokerUnavailable, Undeliverable
from ttg_worker.wire import DeadLetter, Heartbeat

# An idle worker looks this often for chunks of dead workers.
IDLE_SECONDS: Final = 0.25
CLAIM_SECONDS: Final = 0.5
PROMOTE_SECONDS: Final = 0.2
# At its end a worker does not wait long for a broker that may be away.
CLOSE_SECONDS: Final = 1.0
# A result waits for others to share the way for no longer than this.
# Outcomes further apart than this pay for a way of their own, and are seen at once.
SLOW_SECONDS: Final = 0.005
TICK_SECONDS: Final = 0.1


class RedisConsumer:
    """See :class:`ttg_worker.brokers.base.Consumer`.

    A second thread renews the leases, puts due retries back on the tasks, sends heartbeats, and
    results that would wait for a long chunk. ``on_reconnect`` may be called from it.
    """

    def __init__(
        self,
        url: str,
        *,
        run_id: str,
        worker_id: str,
        prefetch: int,
        options: DeliveryOptions,
        unsafe_ack_early: bool,
        on_reconnect: Callable[[str], None] | None,
    ) -> None:
        self._run_id = run_id
        self._worker_id = worker_id
        self._prefetch = prefetch
        self._options = options
        self._unsafe_ack_early = unsafe_ack_early
        self._keys = Keys(run_id)
        # A worker that comes back under its old name must not renew what its dead self held.
        self._name = f"{worker_id}/{secrets.token_hex(4)}"
        self._url = url
        self._link = RedisLink(url)
        # Set when the other thread found the broker back: this link's connection is then a dead one.
        self._link_is_old = threading.Event()
        self._outage = Outage(on_reconnect)

        self._lock = threading.Lock()
        # By entry id, all that the broker handed over and that is not settled yet.
        self._held: dict[bytes, int] = {}
        self._waiting: deque[Delivery] = deque()
        self._suspects: deque[Delivery] = deque()
        self._outbox = Outbox(
            self._keys,
            options,
            owner="" if unsafe_ack_early else self._name,
            settled=self._on_settled,
        )

        self._settled_at = 0.0
        self._claim_at = 0.0
        self._claim_cursor: bytes = b"0-0"
        self._renewed_at = time.monotonic()

        self._heartbeat: Heartbeat | None = None
        self._fatal: BrokerError | None = None
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._background = threading.Thread(
            target=self._serve, args=(RedisLink(url),), name=f"redis-{worker_id}", daemon=True
        )
        self._background.start()

    def take(self, *, most: int, wait_seconds: float) -> list[Delivery]:
        if self._fatal is not None:
            raise self._fatal
        if self._closing.is_set():
            return []
        self._leave_old_connection()
        try:
            if self._waiting and time.monotonic() - self._renewed_at > self._options.lease_seconds:
                # This process was stopped for that long; others may have its chunks by now.
                self._renew(self._link)
            if not self._waiting:
                self._outbox.send(self._link)
                self._fetch(wait_seconds)
            deliveries = self._hand_over(most)
        except NoGroup:
            self._declare_again()
            self._closing.wait(min(wait_seconds, TICK_SECONDS))
            return []
        except BrokerUnavailable as error:
            # When the broker is back, all leases may be over; their holders come first.
            self._claim_at = time.monotonic() + self._options.lease_seconds
            self._closing.wait(min(self._outage.failed(error), wait_seconds))
            return []
        self._outage.over()
        return deliveries

    def take_suspect(self) -> Delivery | None:
        if not self._suspects:
            return None
        delivery = self._suspects[0]
        chunk, limit = delivery.chunk, self._options.delivery_limit
        try:
            begun = self._link.command("HINCRBY", self._keys.begun, chunk.chunk_id, 1) - 1
        except BrokerUnavailable as error:
            self._outage.failed(error)
            return None
        with self._lock:
            # It may have lost the lease meanwhile.
            if not self._suspects or self._suspects.popleft() is not delivery:
                return None
        if begun > limit:
            letter = crashed_too_often(chunk, redelivered=begun, limit=limit, worker_id=self._worker_id)
            self._bury(delivery.token, letter)
            self._send_unless_away()
            return None
        return delivery

    def resize(self, prefetch: int) -> None:
        self._prefetch = prefetch

    def settle(self, delivery: Delivery, outcome: Outcome) -> None:
        bodies = [wire.encode(result) for result in outcome.results]
        last: Verb = "result"
        if outcome.retry is not None:
            last = "retry"
            bodies.append(wire.encode(outcome.retry))
        elif outcome.letter is not None:
            last = "dead"
            bodies.append(wire.encode(outcome.letter))
        now = time.monotonic()
        due = self._outbox.put(delivery.token, last, bodies, now=now)
        slow, self._settled_at = now - self._settled_at > SLOW_SECONDS, now
        if slow or due:
            self._send_unless_away()

    def hand_back(self, deliveries: Sequence[Delivery]) -> None:
        with self._lock:
            back = [*deliveries, *self._waiting, *self._suspects]
            self._waiting.clear()
            self._suspects.clear()
        if not back:
            return
        args = (GROUP, self._name, *(delivery.token for delivery in back))
        try:
            self._link.script(scripts.HAND_BACK, keys=(self._keys.tasks,), args=args)
        except BrokerUnavailable as error:
            # Others take them once the lease is over, for it is renewed no more.
            self._outage.failed(error)
        self._on_settled(delivery.token for delivery in back)

    def flush(self, *, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while not self._try_to_send():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closing.wait(min(left, 0.1))
        return True

    def held(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._held.values())

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._wake.set()

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._background.join(timeout=CLOSE_SECONDS)
        self._link.close()
        link = RedisLink(self._url, timeout_seconds=CLOSE_SECONDS)
        try:
            self._outbox.send(link)
            self._send_beat(link)
            link.script(scripts.RELEASE, keys=(self._keys.tasks,), args=(GROUP, self._name))
        except BrokerError:
            pass  # Nobody there to give it back to; the others take it once the lease is over.
        finally:
            link.close()

    # In the caller's thread.

    def _fetch(self, wait_seconds: float) -> None:
        room = self._prefetch - len(self._held)
        if room <= 0:
            self._closing.wait(min(wait_seconds, TICK_SECONDS))
            return
        now = time.monotonic()
        if now >= self._claim_at:
            self._claim(room)
            if self._waiting or self._suspects:
                return
        if self._fetch_at_once(room) or wait_seconds <= 0:
            return
        # A block of 0 would be one without end.
        block = max(1, int(min(wait_seconds, IDLE_SECONDS) * 1000))
        reply = self._link.command(
            *("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", room, "BLOCK", block),
            *("STREAMS", self._keys.tasks, ">"),
        )
        if reply:
            for entry, fields in reply[0][1]:
                self._take(entry, fields, deliveries=1)

    def _fetch_at_once(self, room: int) -> bool:
        """Whether there was anything."""
        reply = self._link.script(scripts.TAKE, keys=(self._keys.tasks,), args=(GROUP, self._name, room))
        if not reply:
            return False
        sizes, texts, others = reply
        end = 0
        ends = [end := end + int(size) for size in sizes.split()]
        start = 0
        for middle, stop in zip(ends[::2], ends[1::2], strict=True):
            self._take(texts[start:middle], [b"body", texts[middle:stop]], deliveries=1)
            start = stop
        for entry, fields in others:
            self._take(entry, fields, deliveries=1)
        return True

    def _claim(self, room: int) -> None:
        """One page of what dead workers held; the next look is soon as long as there are pages."""
        cursor, claimed = self._link.script(
            scripts.CLAIM,
            keys=(self._keys.tasks,),
            args=(GROUP, self._name, int(self._options.lease_seconds * 1000), self._claim_cursor, room),
        )
        self._claim_cursor = cursor
        if cursor == b"0-0":
            self._claim_at = time.monotonic() + min(CLAIM_SECONDS, self._options.lease_seconds / 4)
        for entry, fields, deliveries in claimed:
            self._take(entry, fields, deliveries=deliveries)

    def _take(self, entry: bytes, fields: list[bytes], *, deliveries: int) -> None:
        if entry in self._held:
            return  # Its own, with the lease over: claiming it has renewed that.
        try:
            body, crashes = task_of(fields)
            chunk = wire.decode_chunk(body, run_id=self._run_id)
        except Undeliverable as error:
            body = fields[1] if len(fields) == 2 else b" ".join(fields)
            self._bury(
                entry,
                refused(body, error, run_id=self._run_id, attempt=deliveries, worker_id=self._worker_id),
            )
            return
        redelivered = crashes + deliveries - 1
        delivery = Delivery(chunk, chunk.retries + redelivered + 1, redelivered, entry)
        with self._lock:
            self._held[entry] = chunk.chunk_id
            (self._waiting if redelivered < SUSPECT_DEATHS else self._suspects).append(delivery)

    def _declare_again(self) -> None:
        """The server lost the run's queues, or they were dropped; what is published again is taken."""
        try:
            self._link.declare(self._keys)
        except BrokerUnavailable as error:
            self._outage.failed(error)

    def _hand_over(self, most: int) -> list[Delivery]:
        with self._lock:
            deliveries = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        if self._unsafe_ack_early and deliveries:
            entries = [delivery.token for delivery in deliveries]
            self._link.transaction(
                ("XACK", self._keys.tasks, GROUP, *entries), ("XDEL", self._keys.tasks, *entries)
            )
        return deliveries

    def _leave_old_connection(self) -> None:
        if self._link_is_old.is_set():
            self._link_is_old.clear()
            self._link.close()

    # In either thread.

    def _bury(self, entry: bytes, letter: DeadLetter) -> None:
        self._outbox.put(entry, "dead", [wire.encode(letter)], now=time.monotonic())

    def _send_unless_away(self) -> None:
        # The caller's compute must not wait for a broker that is known to be away.
        if not self._outage.seconds:
            self._try_to_send()

    def _try_to_send(self) -> bool:
        """Whether all went out; what did not stays, and a broker that is away is no error here."""
        self._leave_old_connection()
        try:
            self._outbox.send(self._link)
        except BrokerUnavailable as error:
            self._outage.failed(error)
            return False
        except NoGroup:
            self._declare_again()
            return False
        self._outage.over()
        return True

    def _on_settled(self, entries: Iterable[bytes]) -> None:
        with self._lock:
            for entry in entries:
                self._held.pop(entry, None)

    def _renew(self, link: RedisLink) -> None:
        with self._lock:
            held = list(self._held)
        lost = set()
        if held:
            args = (GROUP, self._name, *held)
            lost = set(link.script(scripts.RENEW, keys=(self._keys.tasks,), args=args))
        self._renewed_at = time.monotonic()
        with self._lock:
            for queue in (self._waiting, self._suspects):
                for delivery in [d for d in queue if d.token in lost]:
                    queue.remove(delivery)
                    del self._held[delivery.token]

    def _send_beat(self, link: RedisLink) -> None:
        heartbeat = self._heartbeat
        if heartbeat is not None:
            link.command("HSET", self._keys.heartbeats, heartbeat.worker_id, wire.encode(heartbeat))
            if self._heartbeat is heartbeat:
                self._heartbeat = None

    # In the background thread.

    def _serve(self, link: RedisLink) -> None:
        renew_at = promote_at = 0.0
        failures = 0
        while not self._closing.is_set():
            self._wake.wait(TICK_SECONDS)
            self._wake.clear()
            now = time.monotonic()
            try:
                if now >= renew_at:
                    self._renew(link)
                    renew_at = now + self._options.lease_seconds / 3
                if self._outbox.is_due(time.monotonic()):
                    self._outbox.send(link)
                if now >= promote_at:
                    link.script(scripts.PROMOTE, keys=(self._keys.tasks, self._keys.retry), args=())
                    promote_at = now + PROMOTE_SECONDS
                self._send_beat(link)
            except NoGroup:
                continue  # The caller's thread declares it again.
            except BrokerUnavailable as error:
                failures += 1
                # Leases are the first thing when it is back.
                renew_at = 0.0
                # The first may be this thread's old connection after the other found the broker back.
                if failures > 1:
                    self._closing.wait(min(self._outage.failed(error), self._options.lease_seconds / 3))
            except BrokerError as error:
                self._fatal = error
                break
            else:
                if failures > 1:
                    self._link_is_old.set()
                    self._outage.over()
                failures = 0
        link.close()


def task_of(fields: list[bytes]) -> tuple[bytes, int]:
    """A task's body, and the crashes it went through before it was given back; else Undeliverable."""
    if len(fields) == 2 and fields[0] == b"body":
        return fields[1], 0
    if len(fields) == 4 and fields[0] == b"body" and fields[2] == b"crashes" and fields[3].isdigit():
        return fields[1], int(fields[3])
    raise Undeliverable("malformed", "an entry without the one field 'body'")
