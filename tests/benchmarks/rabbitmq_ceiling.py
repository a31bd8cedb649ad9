"""How fast the raw client drains RabbitMQ: pika's SelectConnection, nothing decoded or computed.

Queues, bodies and promise are a worker's: results to a stream, pipelined confirms, and a task
is acked when its result is confirmed.
"""

from __future__ import annotations

import time
from typing import Any, Final

import pika
from pika.spec import Basic

from benchmarks import RUN_ID
from ttg_worker.brokers.rabbitmq.queues import Queues
from ttgctl.drain_rate.published_run import published_run, result_body
from ttgctl.drain_rate.rates import BenchmarkError

PREFETCH: Final = 500
PERSISTENT: Final = pika.BasicProperties(delivery_mode=2)


def ceiling(url: str, chunks: int) -> float:
    """Chunks per second, from the first to the last that was delivered, published and confirmed."""
    with published_run(url, RUN_ID, chunks):
        drain = _Drain(url, chunks)
        drain.connection.ioloop.start()
    if drain.acked_to < chunks:
        raise BenchmarkError(f"raw client on rabbitmq: {drain.acked_to} of {chunks}; {drain.problem}")
    return (chunks - 1) / (drain.ended_at - drain.started_at)


class _Drain:
    def __init__(self, url: str, chunks: int) -> None:
        self.started_at = self.ended_at = 0.0
        self.acked_to = 0
        self.problem: object = None
        self._queues = Queues(RUN_ID)
        self._chunks = chunks
        self._body = result_body(RUN_ID)
        self._confirmed_to = 0
        self._beyond: set[int] = set()
        self._ack_due = False
        self.connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_open_error_callback=self._on_gone,
            on_close_callback=self._on_gone,
        )

    def _on_gone(self, connection: pika.SelectConnection, reason: object) -> None:
        self.problem = reason
        connection.ioloop.stop()

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        def consume(_: Any) -> None:
            channel.basic_consume(self._queues.tasks, self._on_message)

        channel.confirm_delivery(lambda frame: self._on_confirm(channel, frame.method))
        channel.basic_qos(prefetch_count=PREFETCH, callback=consume)

    def _on_message(self, channel: pika.channel.Channel, *delivery: object) -> None:
        self.started_at = self.started_at or time.perf_counter()
        channel.basic_publish("", self._queues.results, self._body, PERSISTENT)

    def _on_confirm(self, channel: pika.channel.Channel, confirm: Any) -> None:
        if not isinstance(confirm, Basic.Ack):
            channel.connection.close(reply_text="the broker refused a result")
            return
        if confirm.multiple:
            self._confirmed_to = confirm.delivery_tag
            self._beyond = {number for number in self._beyond if number > confirm.delivery_tag}
        else:
            self._beyond.add(confirm.delivery_tag)
        if not self._ack_due:
            self._ack_due = True
            channel.connection.ioloop.add_callback(lambda: self._ack(channel))

    def _ack(self, channel: pika.channel.Channel) -> None:
        """One frame for all that came in one turn of the loop."""
        self._ack_due = False
        while self._confirmed_to + 1 in self._beyond:
            self._confirmed_to += 1
            self._beyond.remove(self._confirmed_to)
        # One result a task, in order, on a channel of its own: the numbers of both are the same.
        if self._confirmed_to > self.acked_to:
            channel.basic_ack(self._confirmed_to, multiple=True)
            self.acked_to = self._confirmed_to
        if self.acked_to == self._chunks:
            self.ended_at = time.perf_counter()
            channel.connection.close()
