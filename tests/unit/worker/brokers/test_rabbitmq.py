"""What our RabbitMQ modules decide by themselves, with nothing but fakes and bare sockets."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pika.exceptions
import pytest
from pika.spec import Basic

from ttg_worker.brokers.base import ROLES, DeliveryOptions
from ttg_worker.brokers.rabbitmq.broker import RabbitMQBroker
from ttg_worker.brokers.rabbitmq.confirms import PERSISTENT, Confirms, Outgoing
from ttg_worker.brokers.rabbitmq.connection import Endpoint
from ttg_worker.brokers.rabbitmq.intake import Intake, Token
from ttg_worker.brokers.rabbitmq.queues import QUARANTINE, Queues
from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttgctl.substrates.local import rabbitmq_server
from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer

PASSWORD = "s3cr3t-pa55"
URL = f"amqp://ttg:{PASSWORD}@127.0.0.1:5672/%2F"


class FakeChannel:
    def add_callback(self, callback: Any, replies: Any, one_shot: bool = True) -> None: ...

    """Answers at once, as far as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.is_open = True
        self.published: list[tuple[str, bytes]] = []
        self.looked_for: list[str] = []
        self.acked: list[tuple[int, bool]] = []
        self.consumers: dict[str, tuple[int, Callable[..., None]]] = {}
        self._qos = 0
        self._confirmed: Callable[[Any], None] = lambda frame: None
        self._returned: Callable[..., None] = lambda *_: None

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self._returned = callback

    def queue_declare(self, queue: str, *, passive: bool, callback: Callable[[Any], None]) -> None:
        assert passive
        self.looked_for.append(queue)
        callback(None)

    def confirm_delivery(self, on_confirm: Callable[[Any], None], *, callback: Callable[[Any], None]) -> None:
        self._confirmed = on_confirm
        callback(None)

    def basic_publish(
        self, exchange: str, queue: str, body: bytes, properties: Any, *, mandatory: bool
    ) -> None:
        assert mandatory
        assert properties.delivery_mode == 2
        self.published.append((queue, body))

    def basic_qos(self, *, prefetch_count: int, callback: Callable[[Any], None]) -> None:
        self._qos = prefetch_count
        callback(None)

    def basic_consume(
        self,
        queue: str,
        on_message: Callable[..., None],
        *,
        consumer_tag: str,
        callback: Callable[[Any], None],
    ) -> None:
        self.consumers[consumer_tag] = (self._qos, on_message)
        callback(None)

    def basic_cancel(self, tag: str) -> None:
        del self.consumers[tag]

    def basic_ack(self, tag: int, multiple: bool = False) -> None:
        self.acked.append((tag, multiple))

    def confirm(self, tag: int, *, multiple: bool = False, nack: bool = False) -> None:
        kind = Basic.Nack if nack else Basic.Ack
        self._confirmed(type("Frame", (), {"method": kind(delivery_tag=tag, multiple=multiple)}))

    def give_back(self, queue: str) -> None:
        method = Basic.Return(reply_code=312, reply_text="NO_ROUTE", routing_key=queue)
        self._returned(self, method, None, b"")

    @property
    def prefetch(self) -> int:
        return sum(qos for qos, _ in self.consumers.values())


class FakeLink:
    """Keeps what it is to do until it is told to."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call(self, function: Callable[[], None]) -> None:
        self._due.append(function)

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self._due.append(function)

    def run(self) -> None:
        while self._due:
            self._due.pop(0)()


class Publishing:
    def __init__(self) -> None:
        self.safe: list[bytes] = []
        self.errors: list[BaseException] = []
        self.confirms = Confirms(safe=lambda m: self.safe.append(m.body), unroutable=self.errors.append)
        self.channel = self.attach()

    def attach(self) -> FakeChannel:
        self.channel = FakeChannel()
        self.confirms.attach(self.channel, "results", ready=lambda: None)
        return self.channel

    def publish(self, *bodies: bytes) -> None:
        for body in bodies:
            self.confirms.publish(Outgoing("results", body, PERSISTENT))

    @property
    def sent(self) -> list[bytes]:
        return [body for _, body in self.channel.published]


class TestConfirms:
    def test_only_what_is_confirmed_is_safe(self) -> None:
        publishing = Publishing()
        publishing.publish(b"1", b"2", b"3", b"4")
        publishing.channel.confirm(3)
        assert publishing.safe == [b"3"]
        publishing.channel.confirm(2, multiple=True)
        assert publishing.safe == [b"3", b"1", b"2"]
        publishing.channel.confirm(4, multiple=True)
        assert publishing.safe == [b"3", b"1", b"2", b"4"]

    def test_what_is_refused_is_sent_again(self) -> None:
        publishing = Publishing()
        publishing.publish(b"1", b"2")
        publishing.channel.confirm(2, multiple=True, nack=True)
        assert publishing.safe == []
        assert publishing.sent == [b"1", b"2", b"1", b"2"]
        publishing.channel.confirm(4, multiple=True)
        assert publishing.safe == [b"1", b"2"]

    def test_what_a_lost_channel_left_open_is_sent_on_the_next(self) -> None:
        publishing = Publishing()
        publishing.publish(b"1", b"2")
        publishing.channel.confirm(1)
        publishing.confirms.detach()
        publishing.publish(b"3")
        publishing.attach()
        assert publishing.sent == [b"2", b"3"]
        publishing.channel.confirm(2, multiple=True)
        assert publishing.safe == [b"1", b"2", b"3"]

    def test_a_confirm_of_what_found_no_queue_does_not_count(self) -> None:
        publishing = Publishing()
        publishing.publish(b"1")
        publishing.channel.give_back("retry")
        publishing.channel.confirm(1)
        assert publishing.safe == []
        assert "NO_ROUTE" in str(publishing.errors[0])
        assert publishing.attach().looked_for == ["retry"]
        assert publishing.sent == [b"1"]
        assert publishing.attach().looked_for == ["results"]


class Taking:
    def __init__(self, prefetch: int) -> None:
        self.link = FakeLink()
        self.channel = FakeChannel()
        self.tokens: list[Token] = []
        self._tags = itertools.count(1)
        self.intake = Intake(
            self.link,  # type: ignore[arg-type]
            self.channel,
            "tasks",
            prefetch=prefetch,
            on_message=lambda token, properties, body: self.tokens.append(token),
        )
        self.intake.start()

    def deliver(self, count: int) -> list[Token]:
        """To the newest consumer."""
        _, on_message = list(self.channel.consumers.values())[-1]
        for _ in range(count):
            on_message(self.channel, Basic.Deliver(delivery_tag=next(self._tags)), None, b"")
        return self.tokens[-count:]

    def ack(self, *tokens: Token) -> None:
        for token in tokens:
            self.intake.ack(token)
        self.link.run()


class TestIntake:
    def test_acks_in_order_are_one(self) -> None:
        taking = Taking(5)
        taking.ack(*taking.deliver(5))
        assert taking.channel.acked == [(5, True)]

    def test_an_ack_never_covers_what_is_not_done(self) -> None:
        taking = Taking(6)
        one, two, three, four, five, six = taking.deliver(6)
        taking.ack(two, four)
        assert taking.channel.acked == [(2, False), (4, False)]
        taking.ack(one)
        assert taking.channel.acked[2:] == [(1, True)]
        taking.ack(three)
        assert taking.channel.acked[3:] == [(3, True)]
        taking.ack(six, five)
        assert taking.channel.acked[4:] == [(6, True)]

    def test_an_ack_is_sent_once(self) -> None:
        taking = Taking(1)
        (token,) = taking.deliver(1)
        taking.ack(token)
        taking.ack(token)
        assert taking.channel.acked == [(1, True)]

    @pytest.mark.parametrize("steps", [(1, 2, 3), (1, 500), (7, 7), (1, 40, 3, 500, 1)])
    def test_prefetches_add_up_to_the_one_wanted(self, steps: tuple[int, ...]) -> None:
        first, *others = steps
        taking = Taking(first)
        for prefetch in others:
            taking.intake.resize(prefetch)
            taking.link.run()
            assert taking.channel.prefetch == prefetch

    def test_acks_wait_while_it_shrinks(self) -> None:
        taking = Taking(3)
        one, _, _ = taking.deliver(3)
        taking.intake.resize(1)
        taking.intake.ack(one)
        assert taking.channel.acked == []
        taking.link.run()
        assert taking.channel.acked == [(1, True)]

    def test_what_a_cancelled_consumer_holds_counts(self) -> None:
        taking = Taking(3)
        one, two, three = taking.deliver(3)
        taking.intake.resize(1)
        taking.ack(one, two)
        assert taking.channel.prefetch == 0
        taking.ack(three)
        assert taking.channel.prefetch == 1


class TestEndpoint:
    def test_its_address_is_all_that_is_shown(self) -> None:
        assert Endpoint(URL).address == "127.0.0.1:5672"

    @pytest.mark.parametrize(
        "url",
        [
            f"amqp://ttg:{PASSWORD}@[::",
            f"amqp://ttg:{PASSWORD}@host:port/",
            f"amqp://{PASSWORD}:1:2@h:99999x/",
        ],
    )
    def test_a_url_that_makes_no_sense_is_not_quoted(self, url: str) -> None:
        with pytest.raises(BrokerError) as caught:
            Endpoint(url)
        assert PASSWORD not in str(caught.value)
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize(
        ("error", "final"),
        [
            (pika.exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'x' in vhost '/'"), True),
            (pika.exceptions.ChannelClosedByBroker(404, "NOT_FOUND - home node of queue is down"), False),
            (pika.exceptions.ChannelClosedByBroker(406, "PRECONDITION_FAILED - inequivalent arg"), True),
            (pika.exceptions.ChannelClosedByBroker(406, "delivery acknowledgement timed out"), False),
            (pika.exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown"), False),
            (pika.exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost x not found"), True),
            (pika.exceptions.ProbableAuthenticationError("(403) 'ACCESS_REFUSED - Login was refused'"), True),
            (
                pika.exceptions.ProbableAuthenticationError("StreamLostError('Transport indicated EOF')"),
                False,
            ),
            (pika.exceptions.AMQPConnectionError(ConnectionRefusedError(111, "Connection refused")), False),
        ],
    )
    def test_what_may_pass_is_told_from_what_does_not(self, error: BaseException, final: bool) -> None:
        problem = Endpoint(URL).translated(error)
        assert isinstance(problem, BrokerUnavailable) is not final
        assert "127.0.0.1:5672" in str(problem)
        assert PASSWORD not in str(problem)


def test_queues_of_two_runs_share_nothing() -> None:
    one, two = Queues("a"), Queues("a.b")
    assert not {*one.all, one.heartbeats} & {*two.all, two.heartbeats}
    assert {name.removesuffix(".a") for name in one.all} == {*ROLES, QUARANTINE}


def test_nothing_is_dropped_silently() -> None:
    queues = Queues("a")
    options = DeliveryOptions(delivery_limit=7, retry_delay_seconds=0.25)
    arguments = queues.arguments(options, limit_is_default=True)
    # What was only prefetched is never given up, and RabbitMQ 3 has no word for that, which it need not.
    assert arguments[queues.tasks]["x-delivery-limit"] == -1
    before = queues.arguments(options, limit_is_default=False)
    assert "x-delivery-limit" not in before[queues.tasks]
    assert arguments[queues.quarantine]["x-delivery-limit"] == 7
    for name in (queues.tasks, queues.quarantine):
        assert arguments[name]["x-dead-letter-routing-key"] == queues.dlq
    assert arguments[queues.retry]["x-dead-letter-routing-key"] == queues.tasks
    assert arguments[queues.retry]["x-message-ttl"] == 250
    for name in (queues.tasks, queues.quarantine, queues.retry):
        assert arguments[name]["x-dead-letter-strategy"] == "at-least-once"
        assert arguments[name]["x-overflow"] == "reject-publish"


@pytest.fixture
def hanging_up() -> Iterator[int]:
    """The port of a server that resets each connection as soon as it has it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


class TestNoBroker:
    def broker(self, port: int) -> RabbitMQBroker:
        return RabbitMQBroker(URL.replace("5672", str(port)), options=DeliveryOptions())

    def test_every_way_of_being_hung_up_on_is_an_outage(self, hanging_up: int) -> None:
        broker = self.broker(hanging_up)
        for _ in range(100):
            with pytest.raises(BrokerUnavailable):
                broker.exists("a")

    def test_a_publisher_gives_up(self, hanging_up: int) -> None:
        publisher = self.broker(hanging_up).publisher("a")
        with pytest.raises(BrokerUnavailable):
            list(publisher.publish([]))
        publisher.close()

    def test_a_consumer_goes_on_trying_says_so_once_and_can_be_closed(self, hanging_up: int) -> None:
        said: list[str] = []
        consumer = self.broker(hanging_up).consumer("a", "w", prefetch=1, on_reconnect=said.append)
        assert [consumer.take(most=1, wait_seconds=0.3) for _ in range(2)] == [[], []]
        assert consumer.held() == ()
        assert len(said) == 1
        assert PASSWORD not in said[0]
        began = time.monotonic()
        consumer.close()
        assert time.monotonic() - began < 2
        assert "amqp worker w of a" not in [thread.name for thread in threading.enumerate()]

    def test_an_observer_ends_when_its_patience_does(
        self, hanging_up: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ttg_worker.brokers.rabbitmq.broker.PATIENCE_SECONDS", 0.3)
        results = self.broker(hanging_up).observer("a").results()
        assert next(results) is None
        with pytest.raises(BrokerUnavailable):
            list(results)


def test_a_machine_without_rabbitmq_hears_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_server, "_SCRIPT_FOLDERS", ())
    monkeypatch.setenv("PATH", "")
    problem = RabbitMQServer.problem()
    assert problem is not None
    assert "--backend redis" in problem
