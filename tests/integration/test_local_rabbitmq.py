"""The RabbitMQ node of a local run, and what our broker promises on a real one beyond the contract."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest

from support.consuming import complete as settle_result
from support.consuming import deliveries
from ttg_worker import wire
from ttg_worker.brokers.base import Delivery, DeliveryOptions
from ttg_worker.brokers.rabbitmq.broker import RabbitMQBroker
from ttg_worker.brokers.rabbitmq.consumer import RabbitMQConsumer
from ttg_worker.compute.values import VALUE_BYTES
from ttg_worker.errors import BrokerError
from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer

pytestmark = pytest.mark.server
SOON_SECONDS = 30.0


@pytest.fixture(scope="module")
def server(
    require: Callable[[str | None], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RabbitMQServer, Path, str]]:
    require(RabbitMQServer.problem())
    # A space, and longer than a socket's path may be.
    folder = tmp_path_factory.mktemp("a run") / ("long" * 20) / "run"
    server = RabbitMQServer(folder)
    yield server, folder, server.start().url
    server.stop()
    assert processes.find(folder) == []


@pytest.fixture
def broker(server: tuple[RabbitMQServer, Path, str], run_id: str) -> Iterator[RabbitMQBroker]:
    broker = RabbitMQBroker(server[2], options=DeliveryOptions(retry_delay_seconds=0.2, delivery_limit=2))
    broker.declare(run_id)
    yield broker
    broker.drop(run_id)
    broker.close()


def publish(broker: RabbitMQBroker, run_id: str, count: int) -> None:
    publisher = broker.publisher(run_id)
    assert list(publisher.publish(wire.Chunk(run_id, i, i, i + 1) for i in range(count)))[-1] == count
    publisher.close()


def complete(consumer: RabbitMQConsumer, delivery: Delivery, values: bytes = b"[1]") -> None:
    settle_result(
        consumer,
        delivery,
        wire.ChunkResult(
            run_id=delivery.chunk.run_id,
            chunk_id=delivery.chunk.chunk_id,
            worker_id="w",
            attempt=delivery.attempt,
            redelivered=delivery.redelivered,
            started_at=0.0,
            finished_at=0.0,
            digest=wire.digest(values),
            values=msgspec.Raw(values),
        ),
    )


def test_it_keeps_to_itself(server) -> None:
    _, folder, url = server
    password = urlsplit(url).password
    assert password is not None
    owned = processes.find(folder)
    assert {psutil.Process(p.pid).name() for p in owned} >= {"beam.smp", "epmd"}
    for process in map(psutil.Process, (p.pid for p in owned)):
        assert not any(password in word for word in process.cmdline())
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1")
    kept = folder / "local" / "broker"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert (kept / ".erlang.cookie").is_file()
    assert password not in (kept / "broker.log").read_text(errors="replace")
    for path in kept.iterdir():
        if path.is_file() and password in path.read_text(errors="replace"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_start_finds_it_running(server) -> None:
    _, folder, url = server
    before = {process.uid for process in processes.find(folder)}
    again = RabbitMQServer(folder).start()
    assert again.url == url
    assert {process.uid for process in processes.find(folder)} == before
    assert again.management_url is not None
    parts = urlsplit(again.management_url)
    socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    assert urlsplit(url).password not in again.management_url


def test_a_killed_node_comes_back_with_all_that_was_confirmed(server, broker, run_id) -> None:
    running, folder, url = server
    publish(broker, run_id, 20)
    consumer = broker.consumer(run_id, "w", prefetch=5)
    for delivery in itertools.islice((d for d in deliveries(consumer) if d is not None), 5):
        complete(consumer, delivery)
    assert consumer.flush(timeout_seconds=SOON_SECONDS)
    consumer.close()
    for process in processes.find(folder):
        processes.send(process, signal.SIGKILL)
    assert running.start().url == url
    results = broker.observer(run_id).results()
    ids = [each.message.chunk_id for each in itertools.islice((r for r in results if r is not None), 5)]
    assert ids == list(range(5))
    results.close()
    rest = broker.consumer(run_id, "w", prefetch=20)
    left = {d.chunk.chunk_id for d in itertools.islice((d for d in deliveries(rest) if d is not None), 15)}
    rest.close()
    # An ack is not confirmed, so of those that had a result some may come again.
    assert len(left) == 15


def test_why_it_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "rabbitmq-server"
    script.write_text("#!/bin/sh\nprintf '\\033[38;5;214mBOOT FAILED: eaddrinuse\\033[0m\\n'\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SubstrateError) as caught:
        RabbitMQServer(tmp_path / "run").start()
    assert str(caught.value).endswith("broker.log:\nBOOT FAILED: eaddrinuse")


def test_changing_prefetch_under_load_delivers_each_chunk_once(broker, run_id) -> None:
    count = 2000
    publish(broker, run_id, count)
    consumer = broker.consumer(run_id, "w", prefetch=1)
    sizes = itertools.cycle([5, 50, 500, 20, 300, 1, 100])
    seen = []
    for delivery in deliveries(consumer):
        if delivery is None:
            continue
        assert delivery.redelivered == 0
        seen.append(delivery.chunk.chunk_id)
        complete(consumer, delivery)
        if len(seen) % 100 == 0:
            consumer.resize(next(sizes))
        if len(seen) == count:
            break
    assert sorted(seen) == list(range(count))
    assert consumer.flush(timeout_seconds=SOON_SECONDS)
    consumer.close()


def test_dropping_a_run_ends_its_worker_and_no_other(broker, run_id) -> None:
    other = f"{run_id}-other"
    broker.declare(other)
    publish(broker, run_id, 1)
    consumer = broker.consumer(other, "w", prefetch=1)
    assert next(deliveries(consumer)) is None
    broker.drop(other)
    deadline = time.monotonic() + SOON_SECONDS
    with pytest.raises(BrokerError, match="are not on the broker"):
        list(itertools.takewhile(lambda _: time.monotonic() < deadline, deliveries(consumer)))
    assert broker.counts(run_id).tasks == 1
    assert not broker.exists(other)


def test_the_longest_values_that_a_worker_sends_are_taken(broker, run_id) -> None:
    publish(broker, run_id, 1)
    consumer = broker.consumer(run_id, "w", prefetch=1)
    delivery = next(d for d in deliveries(consumer) if d is not None)
    values = b'["%s"]' % (b"x" * (VALUE_BYTES - 2))
    complete(consumer, delivery, values)
    assert consumer.flush(timeout_seconds=SOON_SECONDS)
    consumer.close()
    observer = broker.observer(run_id)
    result = next(each for each in observer.results() if each is not None).message
    assert (result.chunk_id, bytes(result.values)) == (0, values)
    observer.close()
