"""A substrate whose workers are real ones on the scheduler, and whose control plane goes away."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from simulation.broker import Client, Network, SimulatedConsumer
from simulation.scheduler import Process, Task
from simulation.standard_library import scheduler
from support.fake_compute import FakeCompute
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.compute.values import encode
from ttg_worker.job import Job
from ttg_worker.worker import Worker
from ttgctl.core.ports import BrokerEndpoint, Evidence, Say, SubstrateAway, SubstrateError, WorkerStatus
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.worker_settings import worker_settings

BROKER_URL: Final = "simulated://broker"
# What a control plane takes to answer, and how long one is tried that does not.
ANSWER_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 3.0
GRACE_SECONDS: Final = 10.0


@dataclass
class Parameters:
    """How the run's parameters behave, by index: ``bad`` ones always fail, ``flaky`` ones at first, a
    ``deadly`` one takes its worker with it each time. ``slow`` ones take ``slow_seconds``."""

    seconds: float
    bad: frozenset[int] = frozenset()
    flaky: frozenset[int] = frozenset()
    deadly: frozenset[int] = frozenset()
    slow: frozenset[int] = frozenset()
    slow_seconds: float = 1.0


@dataclass
class Act:
    """What was done to a process or the broker, as an omniscient observer saw it."""

    kind: str
    victim: str
    uid: str
    at: float
    ended_at: float | None = None


@dataclass
class SimulatedWorker:
    worker_id: str
    uid: str
    process: Process
    task: Task | None = None
    worker: Worker | None = None
    consumers: list[SimulatedConsumer] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.process.alive and self.task is not None and not self.task.done


class SimulatedCompute(FakeCompute):
    """Computes parameter by parameter, as the run's parameters behave."""

    def __init__(self, substrate: SimulatedSubstrate, worker: SimulatedWorker, seed: int) -> None:
        self._substrate = substrate
        self._worker = worker
        self._seed = seed
        super().__init__(lambda chunk: [])

    def _compute(self, job: Job) -> None:
        plan = self._substrate.parameters
        started_at = scheduler().time()
        for position, index in enumerate(job.delivery.chunk.indices):
            scheduler().sleep(plan.slow_seconds if index in plan.slow else plan.seconds)
            if index in plan.deadly:
                self._substrate.die(self._worker)
                scheduler().sleep(0.0)
            if index in plan.bad or (index in plan.flaky and job.delivery.chunk.retries == 0):
                job.failed(position, "ValueError", f"parameter {index} does not work")
            else:
                job.succeeded(position, encode(synthetic_value(self._seed, index)), 0.0)
        job.ran(started_at, scheduler().time() - started_at)


class SimulatedSubstrate:
    """See :class:`ttgctl.core.ports.Substrate` and the powers. ``acts`` is all that was done to somebody."""

    name = "simulated"

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        *,
        remote: bool,
        closes_sockets: bool,
        skews: tuple[float, ...],
    ) -> None:
        self.network = network
        self.parameters = parameters
        self.remote = remote
        # Whether the broker learns of a death at once, or by the lease alone.
        self.closes_sockets = closes_sockets
        self.skews = skews
        self.found: list[SimulatedWorker] = []
        self.acts: list[Act] = []
        self.plane_away = False
        self._away: str | None = None
        self._first_start = True
        self._stopped = False

    def new_command(self) -> None:
        """Another command uses it from now on."""
        self._first_start = True
        self._stopped = False
        self._away = None

    @property
    def away(self) -> str | None:
        return self._away

    def _call(self) -> None:
        """Asks the control plane, for as long as patience goes; or :class:`SubstrateAway`."""
        if not self.remote:
            scheduler().let_others()
            return
        scheduler().sleep(scheduler().random.random() * ANSWER_SECONDS)
        until = scheduler().monotonic() + PATIENCE_SECONDS
        while self.plane_away:
            self._away = "the simulated control plane does not answer"
            if scheduler().monotonic() > until:
                raise SubstrateAway(self._away)
            scheduler().sleep(0.25)
        self._away = None

    def _answer(self) -> None:
        """The way back, on which what was done can be lost."""
        if self.remote and self.plane_away and scheduler().random.random() < 0.5:
            raise SubstrateAway("the simulated control plane reset the connection")

    def ensure(self, say: Say) -> None:
        self._call()
        say("the simulated substrate is there")

    def start_broker(self, spec: RunSpec, say: Say) -> BrokerEndpoint:
        self._call()
        if self.network.down:
            scheduler().sleep(0.3)
            self.network.come_up()
            for act in self.acts:
                if act.uid.startswith("broker@") and act.ended_at is None:
                    act.ended_at = self._now
        return BrokerEndpoint(host_url=BROKER_URL, worker_url=BROKER_URL)

    def stop_broker(self, spec: RunSpec) -> None:
        self._call()
        if not self.network.down:
            self.acts.append(Act("restart-broker", "broker", self.network.uid, self._now))
            self.network.go_down()
            scheduler().sleep(0.1)

    def kill_broker(self, spec: RunSpec) -> Evidence:
        self._call()
        uid = self.network.uid
        self.network.go_down()
        self.acts.append(Act("kill-broker", "broker", uid, self._now))
        self._answer()
        at = scheduler().time()
        return Evidence(victim="broker", uid=uid, at=at, method="SIGKILL", effect="process gone")

    def broker_uid(self, spec: RunSpec) -> str | None:
        self._call()
        return None if self.network.down else self.network.uid

    def start_workers(self, spec: RunSpec, endpoint: BrokerEndpoint) -> None:
        self._call()
        if self._first_start:
            self._first_start = False
            for worker in self.found:
                self._let_go(worker)
        while not self._stopped and sum(worker.running for worker in self.found) < spec.workers:
            self._start(spec)

    def _start(self, spec: RunSpec) -> None:
        number = len(self.found) + 1
        ahead = self.skews[number % len(self.skews)]
        worker = SimulatedWorker(f"worker-{number}", f"{number}", Process(f"worker-{number}", ahead))
        self.found.append(worker)

        def main() -> None:
            settings = worker_settings(
                spec,
                worker_id=worker.worker_id,
                broker_url=BROKER_URL,
                input_folder="",
                idle_exit_seconds=0.0,
            )
            client = Client(self.network)
            compute: Any = SimulatedCompute(self, worker, spec.seed)
            worker.worker = Worker(settings, broker=client, compute=compute)
            worker.worker.run()

        worker.task = scheduler().spawn(main, name="main", process=worker.process)

    def workers(self, run_id: str) -> list[WorkerStatus]:
        self._call()
        # A cluster's pods of dead processes are listed for a moment; here they are gone at once.
        there = [worker for worker in self.found if worker.running]
        return [WorkerStatus(worker_id=w.worker_id, uid=w.uid, running=True) for w in there]

    def stop_workers(self, run_id: str) -> None:
        # Also by whoever asked for them before, and is answered only now.
        self._stopped = True
        self._call()
        for worker in self.found:
            self._let_go(worker)
            if worker.running and worker.worker is not None:
                worker.worker.stop()
        until = scheduler().monotonic() + GRACE_SECONDS
        while any(worker.running for worker in self.found) and scheduler().monotonic() < until:
            scheduler().sleep(0.1)
        for worker in self.found:
            if worker.running:
                self.die(worker)

    def why_not(self, kind: str) -> str | None:
        self._call()
        return None

    def kill(self, status: WorkerStatus) -> Evidence:
        worker = self._victim(status)
        self.acts.append(Act("kill-worker", worker.worker_id, worker.uid, self._now))
        self.die(worker)
        self._answer()
        return self._evidence(worker, "SIGKILL", effect="process gone")

    def pause(self, status: WorkerStatus) -> Evidence:
        worker = self._victim(status)
        worker.process.paused = True
        for consumer in self._consumers(worker):
            consumer.fall_silent()
        self.acts.append(Act("stop-worker", worker.worker_id, worker.uid, self._now))
        self._answer()
        return self._evidence(worker, "SIGSTOP")

    def resume(self, status: WorkerStatus) -> None:
        self._call()
        self._let_go(self._named(status))

    def isolate(self, status: WorkerStatus) -> Evidence:
        worker = self._victim(status)
        for consumer in self._consumers(worker):
            consumer.cut = True
            consumer.fall_silent()
        self.acts.append(Act("partition", worker.worker_id, worker.uid, self._now))
        self._answer()
        return self._evidence(worker, "relay")

    def rejoin(self, status: WorkerStatus) -> str | None:
        self._call()
        self._let_go(self._named(status))
        return None

    def _named(self, status: WorkerStatus) -> SimulatedWorker:
        return next(worker for worker in self.found if worker.uid == status.uid)

    def _victim(self, status: WorkerStatus) -> SimulatedWorker:
        self._call()
        worker = self._named(status)
        if not worker.running:
            raise SubstrateError(f"{worker.worker_id} is gone")
        return worker

    def _evidence(self, worker: SimulatedWorker, method: str, effect: str | None = None) -> Evidence:
        return Evidence(
            victim=worker.worker_id, uid=worker.uid, at=scheduler().time(), method=method, effect=effect
        )

    def _let_go(self, worker: SimulatedWorker) -> None:
        """Undoes what holds it."""
        if worker.process.paused:
            scheduler().resume(worker.process)
        for consumer in self._consumers(worker):
            consumer.cut = False
            if worker.process.alive:
                consumer.be_heard()
        for act in self.acts:
            if act.uid == worker.uid and act.ended_at is None:
                act.ended_at = self._now

    def die(self, worker: SimulatedWorker) -> None:
        worker.process.alive = False
        worker.process.paused = False
        for consumer in self._consumers(worker):
            if self.closes_sockets and not consumer.cut:
                consumer.lose()
            consumer.fall_silent()

    def _consumers(self, worker: SimulatedWorker) -> list[SimulatedConsumer]:
        return [c for c in self.network.consumers if c.worker_id == worker.worker_id]

    @property
    def _now(self) -> float:
        return scheduler().began_at + scheduler().now

    def logs(self, run_id: str, *, worker_id: str | None = None) -> dict[str, str]:
        return {}

    def close(self) -> None: ...
