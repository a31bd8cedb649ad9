"""When a run may take what is missing for lost: not before its workers had the time to begin."""

from __future__ import annotations

import threading
import time
import uuid

import msgspec
import pytest

from support.memory_broker import MemoryBroker, MemoryPublisher
from ttg_worker import wire
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions, Outcome, QueueCounts
from ttg_worker.wire import ChunkResult, Heartbeat
from ttgctl.core.inputs.parameters import IndexParameters
from ttgctl.core.ports import BrokerEndpoint, WorkerStatus
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.run import queue_watch, quiescence, runner
from ttgctl.domain.events import Finished
from ttgctl.domain.run import RunSpec

OPTIONS = DeliveryOptions(lease_seconds=0.5)


class JumpingClock:
    """Real time, in which starting a broker took long."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class OneThread:
    """A substrate with one worker, a thread that sends heartbeats at once and takes chunks only later."""

    name = "local"
    remote = False
    away = None

    def __init__(
        self, clock: JumpingClock, *, begins_after_seconds: float | None, awaited_seconds: float = 0.0
    ) -> None:
        self._heard_at = time.monotonic() + awaited_seconds
        self._clock = clock
        self._begins_after_seconds = begins_after_seconds
        self._url = f"memory://{uuid.uuid4().hex}"
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def ensure(self, say) -> None: ...

    def why_not(self, kind: str) -> str | None:
        return None

    def start_broker(self, spec, say) -> BrokerEndpoint:
        self._clock.ahead_seconds = 100.0
        return BrokerEndpoint(host_url=self._url, worker_url=self._url)

    def stop_broker(self, spec) -> None: ...

    def start_workers(self, spec, endpoint) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(spec,), daemon=True)
            self._thread.start()

    def workers(self, run_id):
        awaited = time.monotonic() < self._heard_at
        return [WorkerStatus(worker_id="worker-1", uid="1", running=not awaited, awaited=awaited)]

    def stop_workers(self, run_id) -> None:
        self._stop.set()

    def _work(self, spec) -> None:
        consumer = open_broker(self._url, options=OPTIONS).consumer(spec.run_id, "worker-1", prefetch=1)
        since = time.monotonic()
        while not self._stop.wait(0.05):
            consumer.heartbeat(Heartbeat(spec.run_id, "worker-1", "idle", None, (), 0, 0, since, time.time()))
            begins = self._begins_after_seconds
            if begins is not None and time.monotonic() - since >= begins:
                self._drain(consumer, spec)

    def _drain(self, consumer, spec) -> None:
        while deliveries := consumer.take(most=1, wait_seconds=0.1):
            (delivery,) = deliveries
            now, values = time.time(), b"[1]"
            chunk_id = delivery.chunk.chunk_id
            result = ChunkResult(
                spec.run_id, chunk_id, "worker-1", 1, 0, now, now, wire.digest(values), msgspec.Raw(values)
            )
            consumer.settle(delivery, Outcome(results=(result,)))


@pytest.fixture(autouse=True)
def slow_broker(monkeypatch):
    """Its confirms come after the workers' first heartbeats, and its counts later than that."""
    publish = MemoryPublisher.publish

    def publish_slowly(publisher, chunks):
        time.sleep(0.4)
        yield from publish(publisher, chunks)

    nothing = QueueCounts(tasks=0, in_flight=None, retry=0, dead=None, results=None)
    monkeypatch.setattr(MemoryPublisher, "publish", publish_slowly)
    monkeypatch.setattr(MemoryBroker, "counts", lambda broker, run_id: nothing)
    monkeypatch.setattr(quiescence, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(queue_watch, "LAST_COUNTS_SECONDS", 0.5)


def verdict_of(tmp_path, *, begins_after_seconds: float | None, backend: str = "memory", awaited_seconds=0.0):
    spec = RunSpec(
        run_id="r", backend=backend, substrate="local", parameters_total=5, chunk_size=1, workers=1,
        workload="module:function", delivery=OPTIONS,
    )  # fmt: skip
    folder = RunFolder(tmp_path / "r")
    folder.write_spec(spec)
    clock = JumpingClock()
    substrate = OneThread(clock, begins_after_seconds=begins_after_seconds, awaited_seconds=awaited_seconds)
    events = runner.execute(
        spec,
        folder=folder,
        substrate=substrate,
        source=IndexParameters(5),
        clock=clock,
        stop=threading.Event(),
    )
    *_, last = events
    assert isinstance(last, Finished)
    return last.verdict


def test_a_broker_that_was_slow_to_start_takes_no_patience_from_the_workers(tmp_path):
    verdict = verdict_of(tmp_path, begins_after_seconds=1.0)
    assert verdict.chunks.ok == 5
    assert verdict.chunks.lost == 0


def test_what_nobody_has_is_lost_in_the_end(tmp_path):
    started = time.monotonic()
    verdict = verdict_of(tmp_path, begins_after_seconds=None)
    assert verdict.lost_chunks == (0, 1, 2, 3, 4)
    assert 1.4 < time.monotonic() - started < 20


def test_a_fixed_share_is_not_lost_before_its_worker_was_heard(tmp_path):
    """A pod may take long to start, and nobody else comes for its share."""
    verdict = verdict_of(tmp_path, begins_after_seconds=3.0, backend="static", awaited_seconds=3.0)
    assert verdict.chunks.ok == 5
    assert verdict.chunks.lost == 0
