"""One worker as its own process, as a cluster would run it: signals, settings, and being left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.wire import Chunk
from ttgctl.core.account.judgement import expected_digest
from ttgctl.core.account.ledger import Ledger
from ttgctl.domain.run import RunSpec

# The same for broker and workers, or queues would be declared anew.
OPTIONS = DeliveryOptions(lease_seconds=1.0)


class Sweep:
    """A run's queues with chunks in them, its workers, and what the workers gave."""

    def __init__(self, url: str, run_id: str) -> None:
        self.url = url
        self.run_id = run_id
        self.broker = open_broker(url, options=OPTIONS)
        self.broker.declare(run_id)
        self.workers: list[subprocess.Popen[str]] = []

    def publish(self, chunks: int) -> None:
        self.spec = RunSpec(
            run_id=self.run_id, backend="redis", substrate="local", parameters_total=chunks, chunk_size=1
        )
        publisher = self.broker.publisher(self.run_id)
        sent = [Chunk(self.run_id, i, i, i + 1) for i in range(chunks)]
        assert list(publisher.publish(sent))[-1] == chunks
        publisher.close()

    def worker(self, *, work_ms: float, via: tuple[str, ...] = (), **settings: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "BROKER_URL": self.url,
            "RUN_ID": self.run_id,
            "WORKER_ID": f"w{len(self.workers)}",
            "SIMULATE_WORK_MS": str(work_ms),
            "LEASE_MS": str(OPTIONS.lease_seconds * 1000),
            **settings,
        }
        worker = subprocess.Popen(
            [*via, sys.executable, "-m", "ttg_worker"], env=environment, stderr=subprocess.PIPE, text=True
        )
        self.workers.append(worker)
        return worker

    def busy(self, worker_id: str = "w0") -> bool:
        return any(b.worker_id == worker_id and b.chunk_id is not None for b in self.heartbeats.heartbeats())

    def ledger(self) -> Ledger:
        """All that there is now."""
        ledger = Ledger(":memory:", self.spec, expected_digest=lambda c: expected_digest(self.spec, c))
        for result in self.results.results():
            if result is None:
                break
            ledger.record_result(result)
        return ledger

    def __enter__(self) -> Sweep:
        self.heartbeats = self.broker.observer(self.run_id)
        self.results = self.broker.observer(self.run_id)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            worker.stderr.close()
        for observer in (self.heartbeats, self.results):
            observer.close()
        self.broker.drop(self.run_id)
        self.broker.close()


@pytest.fixture
def sweep(server, run_id) -> Iterator[Sweep]:
    with Sweep(server.url, run_id) as sweep:
        yield sweep


@pytest.fixture
def complete(sweep: Sweep) -> Callable[[], bool]:
    """Whether every chunk has its result."""

    def all_there() -> bool:
        with closing(sweep.ledger()) as ledger:
            return ledger.totals.ok == sweep.spec.chunks_total

    return all_there


def end(worker: subprocess.Popen[str], *, within_seconds: float) -> tuple[int, float, str]:
    """Exit code, seconds it took, and what it said."""
    started = time.monotonic()
    _, said = worker.communicate(timeout=within_seconds)
    return worker.returncode, time.monotonic() - started, said


class TestSigterm:
    def test_finishes_a_short_chunk_and_leaves(self, sweep, until, complete):
        sweep.publish(1)
        worker = sweep.worker(work_ms=1500)
        until(sweep.busy)
        worker.send_signal(signal.SIGTERM)
        code, _, said = end(worker, within_seconds=10)
        assert code == 0, said
        assert complete()
        counts = sweep.broker.counts(sweep.run_id)
        until(lambda: sweep.broker.counts(sweep.run_id).tasks == 0, what=str(counts))

    def test_gives_a_long_chunk_back_at_once(self, sweep, until, complete):
        sweep.publish(1)
        worker = sweep.worker(work_ms=60_000)
        until(sweep.busy)
        worker.send_signal(signal.SIGTERM)
        code, seconds, said = end(worker, within_seconds=20)
        assert code == 0, said
        assert seconds < 10
        assert "giving the chunk in hand back" in said
        assert not complete()
        # Given back, not left to a lease to run out: the next one has it right away.
        sweep.worker(work_ms=10)
        until(complete, within_seconds=5)
        with closing(sweep.ledger()) as ledger:
            assert ledger.chunks_by_worker() == {"w1": 1}

    def test_leaves_at_once_without_a_chunk(self, sweep, until):
        sweep.publish(1)
        worker = sweep.worker(work_ms=1)
        until(lambda: any(b.state == "idle" and b.done == 1 for b in sweep.heartbeats.heartbeats()))
        worker.send_signal(signal.SIGTERM)
        code, seconds, said = end(worker, within_seconds=5)
        assert code == 0, said
        assert seconds < 3


def test_stopped_for_longer_than_its_lease_a_chunk_still_counts_once(sweep, until, complete):
    sweep.publish(6)
    stopped = sweep.worker(work_ms=700)
    until(sweep.busy)
    stopped.send_signal(signal.SIGSTOP)
    other = sweep.worker(work_ms=50)
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 3 * OPTIONS.lease_seconds)
    stopped.send_signal(signal.SIGCONT)
    until(complete, within_seconds=20)
    for worker in (stopped, other):
        worker.send_signal(signal.SIGTERM)
    for worker in (stopped, other):
        code, _, said = end(worker, within_seconds=10)
        assert code == 0, said
    with closing(sweep.ledger()) as ledger:
        assert (ledger.totals.ok, ledger.totals.conflicting) == (6, 0)


def test_killed_its_chunk_goes_to_another(sweep, until, complete):
    sweep.publish(3)
    victim = sweep.worker(work_ms=30_000)
    until(sweep.busy)
    victim.kill()
    sweep.worker(work_ms=10)
    until(complete, within_seconds=10)
    with closing(sweep.ledger()) as ledger:
        assert ledger.chunks_by_worker() == {"w1": 3}
        assert ledger.redelivered_chunks() == 1


def test_left_alone_and_idle_it_leaves_by_itself(sweep, until, complete, tmp_path):
    """Its parent here is a shell that ends soon."""
    sweep.publish(3)
    pid_file = tmp_path / "pid"
    sweep.worker(
        work_ms=10,
        via=("sh", "-c", f'"$@" & echo $! > {pid_file}; sleep 1', "sh"),
        IDLE_EXIT_SECONDS="1",
    )
    until(complete)
    pid = int(pid_file.read_text())

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(gone, within_seconds=10)


GOOD = {"BROKER_URL": "redis://127.0.0.1:1/0", "RUN_ID": "r", "WORKER_ID": "w"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUEUE_BACKEND", "kafka"),
        ("QUEUE_BACKEND", "rabbitmq"),
        ("BROKER_URL", "http://localhost"),
        ("BROKER_URL", ""),
        ("RUN_ID", ""),
        ("WORKER_ID", " "),
        ("SIMULATE_WORK_MS", "-1"),
        ("SIMULATE_WORK_MS", "nan"),
        ("SIMULATE_WORK_MS", "fast"),
        ("SIMULATE_FAULT_RATE", "1.5"),
        ("SIMULATE_FAULT_RATE", "half"),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_ATTEMPTS", "2.5"),
        ("RETRY_DELAY_MS", "0"),
        ("LEASE_MS", "10"),
        ("LEASE_MS", "inf"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("WORKLOAD", "no_such_module:f"),
        ("WORKLOAD", "json"),
    ],
)
def test_a_setting_that_makes_no_sense_ends_it_before_it_starts(name, value):
    done = subprocess.run(
        [sys.executable, "-m", "ttg_worker"],
        env={**os.environ, **GOOD, name: value},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *before, line = done.stderr.splitlines()
    assert (name in line) or (name == "WORKLOAD" and value in line)
    # A workload is loaded while the worker waits for its broker.
    assert not before or name == "WORKLOAD"


def test_a_broker_that_refuses_it_ends_it_with_one_line(sweep):
    scheme, _, rest = sweep.url.partition("://")
    place = rest.rpartition("@")[2]
    user = rest.partition(":")[0]
    sweep.url = f"{scheme}://{user}:not-the-password@{place}"
    code, _, said = end(sweep.worker(work_ms=1), within_seconds=20)
    assert code == 5
    assert len(said.splitlines()) == 1, said
    assert "not-the-password" not in said
