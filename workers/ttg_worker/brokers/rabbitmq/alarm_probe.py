"""Notices that RabbitMQ takes no messages, which it tells only those who publish, and nobody else."""

from __future__ import annotations

from typing import Any, Final

import pika

from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.link import Link

EVERY_SECONDS: Final = 1.0
# A queue of this name is nobody's: what is sent there is dropped by the broker at once.
_NOWHERE: Final = "ttg.nowhere"
_CURES: Final = (
    ("memory", "give it more memory, or raise its mark: rabbitmqctl set_vm_memory_high_watermark 0.6"),
    ("disk", "make room on its disk, or lower its mark: rabbitmqctl set_disk_free_limit 50MB"),
)


class AlarmProbe:
    """A connection of its own, since one that is blocked is not even read any more."""

    def __init__(self, endpoint: Endpoint, *, heartbeat_seconds: int) -> None:
        self._address = endpoint.address
        self._channel: Any = None
        self._link = Link(
            endpoint,
            name="ttgctl alarm probe",
            heartbeat_seconds=heartbeat_seconds,
            opened=self._on_open,
            lost=self._on_lost,
            failed=lambda: None,
            patience_seconds=None,
        )

    @property
    def trouble(self) -> str | None:
        """Why the broker takes no messages, and what helps; None while it takes them, or is not there."""
        self._link.start()
        reason = self._link.blocked
        if reason is None:
            return None
        cures = "; ".join(cure for word, cure in _CURES if word in reason)
        return f"RabbitMQ at {self._address} takes no messages: {reason}" + (f"; {cures}" if cures else "")

    def close(self) -> None:
        self._link.close()

    # The link's thread.

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, reason: self._link.drop(reason))
        self._link.ready()
        self._probe(channel)

    def _on_lost(self) -> None:
        self._channel = None

    def _probe(self, channel: Any) -> None:
        if channel is not self._channel or not channel.is_open:
            return
        if self._link.blocked is None:
            channel.basic_publish("", _NOWHERE, b"")
        self._link.call_later(EVERY_SECONDS, lambda: self._probe(channel))
