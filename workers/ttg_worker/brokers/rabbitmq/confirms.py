"""Publishing with confirms that are waited for in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pika
import pika.exceptions
from pika.spec import Basic

DEAD_LETTER_TYPE: Final = "dead-letter"
PERSISTENT: Final = pika.BasicProperties(delivery_mode=2)
# What a task of which workers died keeps, put back as a new message.
CRASHES_HEADER: Final = "x-ttg-crashes"
PERSISTENT_DEAD_LETTER: Final = pika.BasicProperties(delivery_mode=2, type=DEAD_LETTER_TYPE)


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message to be made safe; ``token`` is the owner's own."""

    queue: str
    body: bytes
    properties: pika.BasicProperties
    token: Any = None


class Confirms:
    """Publishes on one channel at a time and says of each message when the broker has it safe.

    What the broker refuses is sent again, what a lost channel left open is sent on the next one:
    messages may arrive twice, never not at all. ``unroutable`` is told why when a queue is not
    there, for now or for ever; the channel can't be used any more then. Lives on the link's thread.
    """

    def __init__(
        self, *, safe: Callable[[Outgoing], None], unroutable: Callable[[BaseException], None]
    ) -> None:
        self._safe = safe
        self._unroutable = unroutable
        self._channel: pika.channel.Channel | None = None
        self._sequence = 0
        self._oldest = 1
        self._doubtful: str | None = None
        self._open: dict[int, Outgoing] = {}

    def attach(self, channel: pika.channel.Channel, queue: str, *, ready: Callable[[], None]) -> None:
        """Uses this new channel from now on; ``ready`` is called when it can be.

        The broker closes it instead if there is no ``queue``, which most is published to, or none
        of the name for which a message last came back.
        """

        def agreed(frame: Any) -> None:
            left, self._open = list(self._open.values()), {}
            self._channel, self._sequence, self._oldest = channel, 0, 1
            self._doubtful = None
            for message in left:
                self.publish(message)
            ready()

        channel.add_on_return_callback(self._on_return)
        channel.queue_declare(
            self._doubtful or queue,
            passive=True,
            callback=lambda _: channel.confirm_delivery(self._on_confirm, callback=agreed),
        )

    def detach(self) -> None:
        """The channel is gone; what is open waits for the next one."""
        self._channel = None

    def publish(self, message: Outgoing) -> None:
        self._sequence += 1
        self._open[self._sequence] = message
        if self._channel is not None and self._channel.is_open:
            self._channel.basic_publish("", message.queue, message.body, message.properties, mandatory=True)

    def _on_return(self, channel: pika.channel.Channel, method: Any, properties: Any, body: bytes) -> None:
        # A stream is away for a moment after its node started; what is sent to it then comes back,
        # and is confirmed all the same: so no confirm may count from here on.
        self.detach()
        self._doubtful = method.routing_key
        self._unroutable(pika.exceptions.AMQPChannelError(f"{method.routing_key}: {method.reply_text}"))

    def _on_confirm(self, frame: Any) -> None:
        if self._channel is None:
            return
        method = frame.method
        first = self._oldest if method.multiple else method.delivery_tag
        settled = []
        for sequence in range(first, method.delivery_tag + 1):
            message = self._open.pop(sequence, None)
            if message is not None:
                settled.append(message)
        if method.multiple:
            self._oldest = method.delivery_tag + 1
        settle = self._safe if isinstance(method, Basic.Ack) else self.publish
        for message in settled:
            settle(message)
