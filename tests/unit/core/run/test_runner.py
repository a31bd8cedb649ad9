"""The runner from publish to verdict, with workers in threads on a broker in memory."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from support.fake_compute import FakeCompute
from support.memory_broker import MemoryBroker
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttg_worker.settings import WorkerSettings
from ttg_worker.worker import Worker
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.inputs.parameters import IndexParameters
from ttgctl.core.ports import BrokerEndpoint, Evidence, SubstrateError, WorkerStatus
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import Earlier, faults_of
from ttgctl.core.run.clock import SystemClock
from ttgctl.core.run.runner import execute
from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Phase, Progress, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode, Verdict

OPTIONS = DeliveryOptions(max_attempts=2, retry_delay_seconds=0.05, lease_seconds=0.3)


class Threads:
    """A substrate whose workers are threads; ``calls`` has what it was asked for."""

    name = "threads"
    remote = False
    away = None

    def __init__(self, *, seconds: float = 0.0, function: Callable[..., Any] | None = None) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.broker = MemoryBroker.at(self.url, options=OPTIONS)
        self.calls: list[str] = []
        self.refusal: Exception | None = None
        self._seconds = seconds
        self._function = function
        self._workers: dict[str, tuple[Worker, threading.Thread]] = {}
        self._killed: set[str] = set()

    def ensure(self, say) -> None:
        say("threads are there")

    def start_broker(self, spec, say) -> BrokerEndpoint:
        self.calls.append("start_broker")
        return BrokerEndpoint(host_url=self.url, worker_url=self.url)

    def stop_broker(self, spec) -> None:
        self.calls.append("stop_broker")

    def start_workers(self, spec, endpoint) -> None:
        if self.refusal is not None:
            raise self.refusal
        while len([w for w in self._workers if w not in self._killed]) < spec.workers:
            self._start(spec, f"worker-{len(self._workers) + 1}")

    def _start(self, spec: RunSpec, worker_id: str) -> None:
        def compute(chunk) -> list[int]:
            time.sleep(self._seconds)
            if self._function is not None:
                return self._function(chunk)
            return [synthetic_value(spec.seed, index) for index in range(chunk.start, chunk.stop)]

        settings = WorkerSettings(
            broker_url=self.url, run_id=spec.run_id, worker_id=worker_id, delivery=spec.delivery,
            unsafe_ack_early=spec.unsafe_ack_early,
        )  # fmt: skip
        worker = Worker(settings, broker=self.broker, compute=FakeCompute(compute))
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        self._workers[worker_id] = (worker, thread)

    def workers(self, run_id) -> list[WorkerStatus]:
        return [
            WorkerStatus(worker_id=worker_id, uid=f"{worker_id}@1", running=True)
            for worker_id in self._workers
            if worker_id not in self._killed
        ]

    def kill(self, worker: WorkerStatus) -> Evidence:
        # The thread computes on, as a worker that was only cut off would; nobody hears of it.
        self.broker.kill(worker.worker_id)
        self._killed.add(worker.worker_id)
        return Evidence(
            victim=worker.worker_id, uid=worker.uid, at=time.time(), method="SIGKILL", effect="killed"
        )

    def stop_workers(self, run_id) -> None:
        self.calls.append("stop_workers")
        for worker, _ in self._workers.values():
            worker.stop()
        for _, thread in self._workers.values():
            thread.join(timeout=20)
        self._workers.clear()

    def why_not(self, kind) -> str | None:
        return None

    def broker_uid(self, spec) -> str:
        return "broker@1"


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    (tmp_path / "r").mkdir()
    return RunFolder(tmp_path / "r")


def spec(chunks: int = 20, **changes: Any) -> RunSpec:
    fields: dict[str, Any] = {
        "run_id": "r", "backend": "redis", "substrate": "local", "parameters_total": chunks * 2,
        "chunk_size": 2, "workers": 2, "delivery": OPTIONS,
    }  # fmt: skip
    return RunSpec(**{**fields, **changes})


def run(plan: RunSpec, folder: RunFolder, substrate: Threads, **changes: Any) -> Iterator[Any]:
    given: dict[str, Any] = {
        "folder": folder, "substrate": substrate, "source": IndexParameters(plan.parameters_total),
        "clock": SystemClock(), "stop": threading.Event(), **changes,
    }  # fmt: skip
    return execute(plan, **given)


def verdict_of(events: list[Any]) -> Verdict:
    assert isinstance(events[-1], Finished)
    return events[-1].verdict


def test_publishes_drains_and_judges(folder):
    substrate = Threads()
    events = list(run(spec(), folder, substrate))
    verdict = verdict_of(events)
    assert (verdict.lossless, verdict.exit_code) == (True, ExitCode.LOSSLESS)
    assert verdict.checksum == verdict.checksum_expected
    assert (verdict.chunks.attempted, verdict.chunks.acknowledged, verdict.chunks.ok) == (20, 20, 20)
    assert isinstance(events[0], Started)
    assert not events[0].resumed
    names = [event.name for event in events if isinstance(event, Phase)]
    assert names[:2] == ["substrate", "substrate"]
    assert names.count("publish") == 2
    last = [event for event in events if isinstance(event, Progress)][-1].snapshot
    assert (last.accounted, last.fraction, last.published) == (20, 1.0, 20)
    assert substrate.calls == ["start_broker", "stop_workers"]
    with closing(Ledger(folder.ledger, spec())) as ledger:
        assert ledger.totals.ok == 20


def test_progress_only_grows_and_comes_often(folder):
    events = [e for e in run(spec(chunks=30), folder, Threads(seconds=0.05)) if isinstance(e, Progress)]
    accounted = [event.snapshot.accounted for event in events]
    assert accounted == sorted(accounted)
    assert len(events) >= 3
    assert all(later.at >= earlier.at for earlier, later in pairwise(events))


def test_a_killed_worker_is_replaced_and_nothing_is_lost(folder):
    # Longer than heartbeats are apart, so that one of them shows a chunk that is surely in hand.
    substrate = Threads(seconds=0.4)
    events = list(run(spec(faults=("kill-worker at=20%",)), folder, substrate))
    verdict = verdict_of(events)
    assert verdict.lossless
    (fault,) = verdict.faults
    # Whether it held a chunk is chance: it may be hit between two of them.
    assert fault.effect is not None
    assert fault.replaced_seconds is not None
    assert faults_of(events)[0].fault_id == fault.fault_id
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert f"{fault.victim} is gone" in notices
    assert "worker-3 started" in notices


def test_what_was_acked_and_never_done_is_lost_and_named(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.quiescence.SETTLE_SECONDS", 0.5)
    substrate = Threads(seconds=0.05)
    thief = substrate.broker.consumer("r", "thief", prefetch=2, unsafe_ack_early=True)
    stolen = []
    events = []
    for event in run(spec(), folder, substrate):
        events.append(event)
        if not stolen and isinstance(event, Progress):
            stolen += [delivery.chunk.chunk_id for delivery in thief.take(most=2, wait_seconds=5)]
    verdict = verdict_of(events)
    assert verdict.lost_chunks == tuple(sorted(stolen))
    assert (verdict.exit_code, verdict.complete) == (ExitCode.LOSS, False)
    assert any("lost" in note for note in verdict.notes)


def test_what_always_fails_is_given_up_and_the_rest_is_done(folder):
    def function(chunk):
        if chunk.chunk_id == 3:
            raise ValueError("no")
        return [0] * (chunk.stop - chunk.start)

    plan = spec(workload="work.py:f")
    verdict = verdict_of(list(run(plan, folder, Threads(function=function))))
    assert verdict.exit_code is ExitCode.DEAD_LETTERS
    assert (verdict.complete, verdict.lossless, verdict.dead_lettered_chunks) == (True, False, (3,))
    assert verdict.chunks.retried == 1


def test_stopped_it_lets_go_and_a_later_command_goes_on(folder):
    stop = threading.Event()
    substrate = Threads(seconds=0.1)
    events = []
    for event in run(spec(), folder, substrate, stop=stop):
        events.append(event)
        if isinstance(event, Progress) and event.snapshot.accounted >= 3:
            stop.set()
    assert isinstance(events[-1], Interrupted)
    assert not events[-1].timed_out
    assert substrate.calls == ["start_broker", "stop_workers", "stop_broker"]

    later = list(run(spec(), folder, substrate, earlier=Earlier()))
    assert later[0].resumed
    verdict = verdict_of(later)
    assert verdict.lossless
    assert verdict.chunks.duplicated == 0
    assert "resumed by a later command" in verdict.notes


def test_out_of_time_it_judges_what_there_is(folder):
    events = list(run(spec(timeout_seconds=0.6), folder, Threads(seconds=0.2)))
    assert isinstance(events[-1], Interrupted)
    assert events[-1].timed_out
    assert isinstance(events[-2], Finished)
    verdict = events[-2].verdict
    assert (verdict.exit_code, verdict.lost_chunks) == (ExitCode.TIMED_OUT, ())
    assert 0 < verdict.chunks.ok < 20


def test_what_was_injected_is_not_injected_again(folder):
    substrate = Threads(seconds=0.1)
    stop = threading.Event()
    plan = spec(faults=("kill-worker at=10%",))
    events = []
    for event in run(plan, folder, substrate, stop=stop):
        events.append(event)
        if isinstance(event, Fault) and event.record.victim is not None:
            stop.set()
    verdict = verdict_of(list(run(plan, folder, substrate, earlier=Earlier(faults=faults_of(events)))))
    assert verdict.lossless
    assert len(verdict.faults) == 1


@pytest.mark.parametrize("error", [SubstrateError("no"), BrokerError("no"), ValueError("a bug")])
def test_an_error_stops_all_and_is_raised(folder, error):
    substrate = Threads()
    substrate.refusal = error
    with pytest.raises(type(error), match=str(error)):
        list(run(spec(), folder, substrate))
    assert substrate.calls == ["start_broker", "stop_workers", "stop_broker"]


def test_a_reader_that_has_enough_leaves_nothing_running(folder):
    substrate = Threads(seconds=0.2)
    events = run(spec(), folder, substrate)
    for event in events:
        if isinstance(event, Progress):
            break
    events.close()
    assert substrate.calls == ["start_broker", "stop_workers", "stop_broker"]


def test_what_was_on_queues_that_are_gone_is_published_again(folder):
    substrate = Threads(seconds=0.1)
    stop = threading.Event()
    for event in run(spec(), folder, substrate, stop=stop):
        if isinstance(event, Progress) and event.snapshot.accounted:
            stop.set()
    substrate.broker.drop("r")
    events = list(run(spec(), folder, substrate, earlier=Earlier()))
    verdict = verdict_of(events)
    assert (verdict.exit_code, verdict.lossless) == (ExitCode.LOSSLESS, True)
    assert verdict.chunks.duplicated == 0
    assert any("published again" in note for note in verdict.notes)


def test_what_the_broker_lost_a_later_command_publishes_again(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.quiescence.SETTLE_SECONDS", 0.5)
    substrate = Threads(seconds=0.05)
    thief = substrate.broker.consumer("r", "thief", prefetch=2, unsafe_ack_early=True)
    stolen = []
    for event in run(spec(), folder, substrate):
        if not stolen and isinstance(event, Progress):
            stolen += thief.take(most=2, wait_seconds=5)
    with closing(Ledger(folder.ledger, spec())) as ledger:
        assert ledger.missing(20) == sorted(delivery.chunk.chunk_id for delivery in stolen)
        ledger.publish_again()
    verdict = verdict_of(list(run(spec(), folder, substrate, earlier=Earlier())))
    assert (verdict.exit_code, verdict.chunks.duplicated) == (ExitCode.LOSSLESS, 0)
    assert any("2 chunks without an outcome were published again" in note for note in verdict.notes)


def test_a_control_plane_that_is_away_holds_nobody_up_and_ends_nothing(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.worker_supervisor.STALE_SECONDS", 0.3)
    substrate = Threads(seconds=0.02)
    substrate.remote = True
    back = threading.Event()
    workers = substrate.workers

    def when_there(run_id):
        if substrate.away is not None:
            back.wait(20)
            substrate.away = None
        return workers(run_id)

    substrate.workers = when_there
    events, shown = [], []
    for event in run(spec(chunks=300), folder, substrate):
        events.append(event)
        if isinstance(event, Progress):
            shown.append(event.snapshot)
            if event.snapshot.accounted and not back.is_set():
                substrate.away = "the API does not answer"
            if event.snapshot.accounted > 60:
                back.set()
    assert back.is_set()
    assert max(s.workers_age_seconds for s in shown) > 0.2
    told = [event.message for event in events if isinstance(event, Notice)]
    assert any("the API does not answer; the run goes on" in line for line in told), told
    assert any("answers again after" in line for line in told), told
    assert verdict_of(events).exit_code == ExitCode.LOSSLESS


def test_nothing_is_called_lost_while_nobody_sees_the_workers(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.quiescence.SETTLE_SECONDS", 0.2)
    monkeypatch.setattr("ttgctl.core.run.worker_supervisor.STALE_SECONDS", 0.3)
    substrate = Threads(seconds=0.05)
    thief = substrate.broker.consumer("r", "thief", prefetch=2, unsafe_ack_early=True)
    stolen: list[Any] = []
    plan = spec(timeout_seconds=6.0)
    verdicts = []
    for event in run(plan, folder, substrate):
        if isinstance(event, Finished):
            verdicts.append(event)
        if not stolen and isinstance(event, Progress):
            stolen += thief.take(most=2, wait_seconds=5)
            substrate.away = "the API does not answer"
    verdict = verdict_of(verdicts)
    assert (verdict.exit_code, verdict.chunks.lost) == (ExitCode.TIMED_OUT, 0)


def test_a_broker_that_is_away_for_a_moment_is_told_of_and_started_again(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.broker_supervisor.PATIENCE_SECONDS", 0.2)
    substrate = Threads(seconds=0.1)
    counts = substrate.broker.counts
    away = threading.Event()

    def sometimes(run_id):
        if away.is_set():
            raise BrokerUnavailable("nobody there")
        return counts(run_id)

    def start_broker(spec, say):
        if away.is_set():
            away.clear()
        return BrokerEndpoint(host_url=substrate.url, worker_url=substrate.url)

    substrate.broker.counts = sometimes
    substrate.start_broker = start_broker
    events = []
    went_away = False
    for event in run(spec(chunks=40), folder, substrate):
        events.append(event)
        if not went_away and isinstance(event, Progress) and event.snapshot.accounted:
            went_away = True
            away.set()
    assert verdict_of(events).lossless
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert "the broker does not answer: nobody there" in notices
    assert any(message.startswith("the broker is back after") for message in notices)


def test_a_broker_that_can_not_be_started_again_is_told_of(folder, monkeypatch):
    monkeypatch.setattr("ttgctl.core.run.broker_supervisor.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("ttgctl.core.run.broker_supervisor.GIVE_UP_SECONDS", 1.0)
    substrate = Threads(seconds=0.1)

    def away(run_id):
        raise BrokerUnavailable("nobody there")

    def start_broker(spec, say):
        if substrate.broker.counts is away:
            raise SubstrateError("no port is free")
        return BrokerEndpoint(host_url=substrate.url, worker_url=substrate.url)

    substrate.start_broker = start_broker
    events = []

    def follow() -> None:
        for event in run(spec(chunks=200), folder, substrate):
            events.append(event)
            if isinstance(event, Progress):
                substrate.broker.counts = away

    with pytest.raises(BrokerUnavailable, match="nobody there"):
        follow()
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert "the broker could not be started again: no port is free" in notices
    assert substrate.calls[-2:] == ["stop_workers", "stop_broker"]


@pytest.mark.parametrize("step", ["stop_workers", "stop_broker"])
def test_a_teardown_that_fails_hides_no_error_and_keeps_no_other_step(folder, step):
    substrate = Threads()
    substrate.refusal = SubstrateError("the first error")
    real = getattr(substrate, step)

    def failing(argument) -> None:
        real(argument)
        raise SubstrateError(f"{step} does not work")

    setattr(substrate, step, failing)
    with pytest.raises(SubstrateError, match="the first error") as caught:
        list(run(spec(), folder, substrate))
    assert substrate.calls == ["start_broker", "stop_workers", "stop_broker"]
    assert caught.value.__notes__ == [f"could not {step.replace('_', ' the ')}: {step} does not work"]


def test_a_teardown_that_fails_after_a_stop_is_said_and_goes_on(folder):
    stop = threading.Event()
    substrate = Threads(seconds=0.1)
    real = substrate.stop_workers

    def failing(run_id) -> None:
        real(run_id)
        raise SubstrateError("no answer")

    substrate.stop_workers = failing
    events = []
    for event in run(spec(), folder, substrate, stop=stop):
        events.append(event)
        if isinstance(event, Progress) and event.snapshot.accounted:
            stop.set()
    assert isinstance(events[-1], Interrupted)
    assert substrate.calls == ["start_broker", "stop_workers", "stop_broker"]
    assert "could not stop the workers: no answer" in [e.message for e in events if isinstance(e, Notice)]
