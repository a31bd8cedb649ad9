"""Takes deliveries from a queue of RabbitMQ, never more than a prefetch that can change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pika
from pika.spec import Basic

from ttg_worker.brokers.rabbitmq.link import Link

# Longer than the broker takes to answer an ack with the next message.
_SETTLE_SECONDS: Final = 0.05


class _Share:
    """One AMQP consumer: it keeps the prefetch that it started with."""

    __slots__ = ("prefetch", "tag", "unacked")

    def __init__(self, tag: str, prefetch: int) -> None:
        self.tag = tag
        self.prefetch = prefetch
        self.unacked = 0


class Token:
    """One delivery; it can be acked on the intake that it came by and on no other.

    ``taken``, ``answered`` (its outcome is on its way), ``open_parts`` (of that, not safe yet) and
    ``is_suspect`` are the owner's.
    """

    __slots__ = ("acked", "answered", "intake", "is_suspect", "open_parts", "share", "tag", "taken")

    def __init__(self, intake: Intake, share: _Share, tag: int) -> None:
        self.intake = intake
        self.share = share
        self.tag = tag
        self.acked = False
        self.taken = False
        self.answered = False
        self.open_parts = 1
        self.is_suspect = False


class Intake:
    """The deliveries of one channel, for as long as that is open. Lives on the link's thread.

    More prefetch is one AMQP consumer more, less is the newest ones cancelled, since neither
    RabbitMQ changes that of a running one. What arrives for a consumer that is being cancelled
    goes back as if it had failed, so acks are held until nothing arrives any more.
    """

    def __init__(
        self,
        link: Link,
        channel: pika.channel.Channel,
        queue: str,
        *,
        prefetch: int,
        on_message: Callable[[Token, pika.BasicProperties, bytes], None],
    ) -> None:
        self._link = link
        self._channel = channel
        self._queue = queue
        self._prefetch = prefetch
        self._on_message = on_message
        self._acks = _Acks(channel)
        self._shares: list[_Share] = []
        self._leaving: list[_Share] = []
        self._started = 0
        self._changing = False
        self._hold_acks = False
        self._getting = False
        self._when_resized: list[Callable[[], None]] = []
        channel.add_callback(self._on_nothing_got, [Basic.GetEmpty], one_shot=False)

    def start(self) -> None:
        """Takes deliveries from now on, if it did not before."""
        self._balance()

    def resize(self, prefetch: int) -> None:
        self._prefetch = prefetch
        if self._started:
            self._balance()

    def when_resized(self, function: Callable[[], None]) -> None:
        """Calls ``function`` once what a smaller prefetch has too much is cancelled: what is put back on the
        queue before that would come back here."""
        if self._changing:
            self._when_resized.append(function)
        else:
            function()

    def get(self, queue: str) -> None:
        """Takes one message of another queue, if there is one, beyond the prefetch."""
        if self._getting or not self._channel.is_open:
            return
        self._getting = True
        share = _Share("", 0)

        def got(channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            self._getting = False
            share.unacked += 1
            token = Token(self, share, method.delivery_tag)
            token.is_suspect = True
            self._on_message(token, properties, body)

        self._channel.basic_get(queue, got)

    def _on_nothing_got(self, _: Any) -> None:
        self._getting = False

    def ack(self, token: Token) -> None:
        """Soon, together with others; only once for a token."""
        if token.acked:
            return
        token.acked = True
        token.share.unacked -= 1
        if self._acks.add(token.tag):
            self._link.call(self._send_acks)
        if self._leaving:
            self._balance()

    def ack_at_once(self, token: Token, *, done: Callable[[], None]) -> None:
        """``done`` is called when the broker has the ack."""
        if not self._channel.is_open:
            return
        self.ack(token)
        self._send_acks()
        # The broker answers in order.
        self._channel.queue_declare(self._queue, passive=True, callback=lambda _: done())

    def _balance(self) -> None:
        if self._changing or not self._channel.is_open:
            return
        # What cancelled consumers hold counts until it is done.
        self._leaving = [share for share in self._leaving if share.unacked]
        missing = self._prefetch - sum(share.prefetch for share in self._shares)
        if missing < 0:
            self._changing = self._hold_acks = True
            self._link.call_later(_SETTLE_SECONDS, self._shrink)
        elif missing > 0 and not self._leaving:
            self._changing = True
            self._channel.basic_qos(prefetch_count=missing, callback=lambda _: self._grow(missing))

    def _grow(self, prefetch: int) -> None:
        self._started += 1
        share = _Share(f"ttg-{self._started}", prefetch)

        def on_message(channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            share.unacked += 1
            self._on_message(Token(self, share, method.delivery_tag), properties, body)

        def started(_: Any) -> None:
            self._shares.append(share)
            self._changing = False
            self._balance()
            if not self._changing:
                self._tell_resized()

        self._channel.basic_consume(self._queue, on_message, consumer_tag=share.tag, callback=started)

    def _shrink(self) -> None:
        if not self._channel.is_open:
            return
        while self._shares and sum(share.prefetch for share in self._shares) > self._prefetch:
            share = self._shares.pop()
            self._channel.basic_cancel(share.tag)
            self._leaving.append(share)
        self._changing = self._hold_acks = False
        self._send_acks()
        self._tell_resized()
        self._balance()

    def _tell_resized(self) -> None:
        waiting, self._when_resized = self._when_resized, []
        for function in waiting:
            function()

    def _send_acks(self) -> None:
        if not self._hold_acks:
            self._acks.send()


class _Acks:
    """Acks deliveries of one channel, in one frame as far as all before them are done too."""

    def __init__(self, channel: pika.channel.Channel) -> None:
        self._channel = channel
        self._done_up_to = 0
        self._acked: set[int] = set()
        self._waiting: set[int] = set()

    def add(self, delivery_tag: int) -> bool:
        """Whether this is the first since :meth:`send`, so that one is due."""
        self._waiting.add(delivery_tag)
        return len(self._waiting) == 1

    def send(self) -> None:
        waiting, acked = self._waiting, self._acked
        merged = 0
        while True:
            tag = self._done_up_to + 1
            if tag in waiting:
                waiting.remove(tag)
                merged = tag
            elif tag in acked:
                acked.remove(tag)
            else:
                break
            self._done_up_to = tag
        if not self._channel.is_open:
            return
        if merged:
            self._channel.basic_ack(merged, multiple=True)
        for tag in waiting:
            self._channel.basic_ack(tag)
        acked |= waiting
        waiting.clear()
