"""Fixed shares between this machine and pods, which are folders here, reached by the pods' own process."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from ttg_worker import wire
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.attempts import given_up
from ttg_worker.brokers.base import DeliveryOptions, Outcome
from ttg_worker.brokers.static.broker import static_url
from ttg_worker.brokers.static.files import StaticFiles
from ttg_worker.wire import Chunk, ChunkResult, Heartbeat, ParameterError
from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.kubernetes import share_sync
from ttgctl.substrates.kubernetes.share_sync import ShareSync

OPTIONS = DeliveryOptions(retry_delay_seconds=0.01)
WORKERS = 2
FOLDER = "shares"


class Connection:
    """A command in a pod, as a process here; its output is cut into odd pieces on the way."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder
        )
        self.broken = False

    def receive(self, seconds: float) -> str:
        if self.broken:
            raise SubstrateError("the connection broke")
        out = self._process.stdout.fileno()
        if not select.select([out], [], [], seconds)[0]:
            return ""
        text = os.read(out, 37).decode()
        if not text:
            raise SubstrateError("the command has ended")
        return text

    def send(self, text: str) -> None:
        if self.broken:
            raise SubstrateError("the connection broke")
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Pods:
    """Folders by the names of pods."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.connections: dict[str, list[Connection]] = {}
        self.refusal: str | None = None
        self.program: list[str] = []

    def folder(self, pod: str) -> Path:
        folder = self._folder / pod
        folder.mkdir(exist_ok=True)
        return folder

    def connect(self, pod: str, argv: list[str]) -> Connection:
        if self.refusal is not None:
            raise SubstrateError(self.refusal)
        assert argv[0] == "python"
        made = Connection(self.program or [sys.executable, *argv[1:]], self.folder(pod))
        self.connections.setdefault(pod, []).append(made)
        return made

    def broker(self, pod: str, share: int):
        return open_broker(
            static_url(self.folder(pod) / FOLDER, workers=WORKERS, share=str(share)), options=OPTIONS
        )


@pytest.fixture
def pods(tmp_path, monkeypatch) -> Pods:
    monkeypatch.setattr(share_sync, "AGAIN_SECONDS", 0.01)
    (tmp_path / "pods").mkdir()
    return Pods(tmp_path / "pods")


@pytest.fixture
def host(tmp_path):
    broker = open_broker(static_url(tmp_path / "host", workers=WORKERS), options=OPTIONS)
    broker.declare("r")
    return broker


@pytest.fixture
def relay(tmp_path, pods, host):
    relay = ShareSync(StaticFiles(tmp_path / "host"), pods.connect, pod_folder=FOLDER)
    yield relay
    relay.close()


def publish(host, chunk_ids) -> None:
    list(host.publisher("r").publish(Chunk("r", c, c, c + 1) for c in chunk_ids))


class PodWorker:
    """Works in a thread on what comes to a pod's folder, until it is told to stop."""

    def __init__(self, pods: Pods, pod: str, share: int, until) -> None:
        broker = pods.broker(pod, share)
        until(lambda: broker.exists("r"))
        self._pod = pod
        self._consumer = broker.consumer("r", pod, prefetch=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            for delivery in self._consumer.take(most=1, wait_seconds=0.05):
                chunk_id = delivery.chunk.chunk_id
                values = msgspec.json.encode([f"naïve 😀 {chunk_id}"])
                result = ChunkResult(
                    "r", chunk_id, self._pod, 1, 0, 1.0, 2.0, wire.digest(values), msgspec.Raw(values)
                )
                self._consumer.settle(delivery, Outcome(results=(result,)))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._consumer.close()


@pytest.fixture
def work(pods, until):
    workers = []

    def begin(pod: str, share: int) -> PodWorker:
        workers.append(PodWorker(pods, pod, share, until))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.stop()


def results(host) -> list[ChunkResult]:
    found = []
    for record in host.observer("r").results():
        if record is None:
            return found
        found.append(record.message)
    return found


def test_the_plan_goes_to_every_pod_and_each_gives_its_share(relay, host, work, until):
    publish(host, range(500))
    relay.follow({"uid-a": "a", "uid-b": "b"})
    until(lambda: relay.hears("uid-a") and relay.hears("uid-b"))
    work("a", 0)
    work("b", 1)
    publish(host, range(500, 1000))
    until(lambda: host.counts("r").results == 1000)
    given = results(host)
    assert sorted(r.chunk_id for r in given) == list(range(1000))
    assert {(r.worker_id, r.chunk_id % 2) for r in given} == {("a", 0), ("b", 1)}
    assert host.counts("r").tasks == 0
    assert all(f"naïve 😀 {r.chunk_id}".encode() in bytes(r.values) for r in given)


def test_a_connection_that_breaks_again_and_again_loses_and_doubles_nothing(relay, pods, host, work, until):
    relay.follow({"uid-a": "a"})
    until(lambda: relay.hears("uid-a"))
    work("a", 0)
    for first in range(0, 1000, 100):
        publish(host, range(first, first + 100))
        connection = pods.connections["a"][-1]
        connection.broken = True
        until(lambda broken=connection: pods.connections["a"][-1] is not broken and relay.hears("uid-a"))
    until(lambda: host.counts("r").results >= 500)
    assert sorted(r.chunk_id for r in results(host)) == list(range(0, 1000, 2))
    assert len(pods.connections["a"]) == 11


def test_a_killed_command_is_started_again_while_its_pod_runs(relay, pods, host, work, until):
    publish(host, range(10))
    relay.follow({"uid-a": "a"})
    until(lambda: relay.hears("uid-a"))
    pods.connections["a"][0].kill()
    until(lambda: len(pods.connections["a"]) == 2)
    work("a", 0)
    until(lambda: host.counts("r").results == 5)


def test_beats_and_dead_letters_come_too(relay, pods, host, until):
    publish(host, [0])
    relay.follow({"uid-a": "a"})
    broker = pods.broker("a", 0)
    until(lambda: broker.exists("r"))
    consumer = broker.consumer("r", "a", prefetch=1)
    consumer.heartbeat(Heartbeat("r", "a", "busy", 0, (0,), 0, 0, 0.0, 1.0))
    until(lambda: [heartbeat.held for heartbeat in host.observer("r").heartbeats()] == [(0,)])
    (delivery,) = until(lambda: consumer.take(most=1, wait_seconds=0.1))
    boom = [ParameterError((0,), "ValueError", "boom")]
    consumer.settle(delivery, Outcome(letter=given_up(delivery, boom, worker_id="a")))
    until(lambda: host.counts("r").dead == 1)


def test_a_pod_that_is_gone_is_not_connected_to_again(relay, pods, until):
    relay.follow({"uid-a": "a"})
    until(lambda: relay.hears("uid-a"))
    relay.follow({})
    pods.connections["a"][0].kill()
    until(lambda: not relay.hears("uid-a"))
    assert len(pods.connections["a"]) == 1
    relay.follow({})


def refused(relay, until) -> str:
    """What the relay says once it has given up."""

    def told() -> str:
        try:
            relay.follow({"uid-a": "a"})
        except SubstrateError as error:
            return str(error)
        return ""

    return str(until(told))


def test_what_a_pod_can_not_run_is_told_in_its_own_words(relay, pods, monkeypatch, until):
    monkeypatch.setattr(share_sync, "GIVE_UP_SECONDS", 0.0)
    pods.program = [sys.executable, "-m", "no_such_module"]
    said = refused(relay, until)
    assert "pod a" in said
    assert "no_such_module" in said


def test_a_pod_that_nobody_reaches_for_long_is_no_pod_to_wait_for(relay, pods, monkeypatch, until):
    pods.refusal = "no route to it"
    relay.follow({"uid-a": "a"})
    assert not relay.hears("uid-a")
    monkeypatch.setattr(share_sync, "GIVE_UP_SECONDS", 0.0)
    assert "no route to it" in refused(relay, until)


def test_a_silent_connection_is_made_anew(relay, pods, host, work, monkeypatch, until):
    monkeypatch.setattr(share_sync, "SILENT_SECONDS", 0.2)
    relay.follow({"uid-a": "a"})
    until(lambda: len(pods.connections.get("a", ())) >= 2)
    monkeypatch.setattr(share_sync, "SILENT_SECONDS", 60.0)
    publish(host, [0])
    work("a", 0)
    until(lambda: host.counts("r").results == 1)
