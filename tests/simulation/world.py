"""One simulated run: its commands one after another, what disturbs them, and all that turned out wrong."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from simulation.broker import RUN, Client, Network
from simulation.plan import Disturbance, Ending, Garbage, Plan, plan_of
from simulation.scheduler import EndlessWait, Process, Scheduler, Task
from simulation.standard_library import Clock, Event, replaced, scheduled
from simulation.substrate import SimulatedSubstrate
from simulation.truth import wrong_in
from ttg_worker import wire
from ttg_worker.brokers import register_backend
from ttg_worker.brokers.base import Unreadable
from ttg_worker.errors import BrokerError
from ttg_worker.wire import Chunk, ChunkResult
from ttgctl.core.account.dead_letters import entries, want_back
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.inputs.parameters import IndexParameters
from ttgctl.core.ports import SubstrateError
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import Earlier, faults_of
from ttgctl.core.run import runner
from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Progress, RunEvent
from ttgctl.domain.verdict import Verdict

# A run whose commands end by what is wrong for so many times in a row never ends.
COMMANDS_MOST: Final = 10
PAUSE_SECONDS: Final = 4.0
# The view is to be a quarter of a second old at most; a busy main loop may need twice that.
GAP_SECONDS: Final = 0.6
# A step that the scheduler gives to others, and the way of a message.
BLUR_SECONDS: Final = 0.1

_networks: list[Network] = []
register_backend("simulated", scheme="simulated", opener=lambda url, options: Client(_networks[-1]))


@dataclass
class Outcome:
    """``wrong`` is empty when all was as it had to be."""

    plan: Plan
    wrong: list[str] = field(default_factory=list)
    verdict: Verdict | None = None
    commands: int = 0
    steps: int = 0
    seconds: float = 0.0


class SimulatedLedger(Ledger):
    """On a disk that may be full. ``newest`` is the one that was opened last."""

    full = False
    newest: SimulatedLedger | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        SimulatedLedger.newest = self

    def commit(self) -> None:
        if SimulatedLedger.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().commit()

    def die(self) -> None:
        """With its process: what it did not commit never was."""
        self._db.rollback()
        self._db.close()


class World:
    def __init__(self, plan: Plan, folder: Path, scheduler: Scheduler) -> None:
        self.plan = plan
        self.folder = RunFolder(folder)
        self.scheduler = scheduler
        self.full = False
        network = Network(plan.spec.delivery, full=lambda: "its disk is full" if self.full else None)
        _networks[:] = [network]
        self.network = network
        self.substrate = SimulatedSubstrate(
            network,
            plan.parameters,
            remote=plan.remote,
            closes_sockets=plan.closes_sockets,
            skews=plan.skews,
        )
        self.events: list[RunEvent] = []
        self.outcome = Outcome(plan)
        self._observer = Process("observer")

    def run(self) -> Outcome:
        SimulatedLedger.full = False
        main = self.scheduler.spawn(self._main, name="main", process=self._observer)
        try:
            self.scheduler.run(main)
        except EndlessWait as error:
            self._wrong(f"endless wait: {error}")
        if main.error is not None:
            raise main.error
        self.outcome.steps, self.outcome.seconds = self.scheduler.steps, self.scheduler.now
        return self.outcome

    def _wrong(self, what: str) -> None:
        self.outcome.wrong.append(f"command {self.outcome.commands}: {what}")

    def _main(self) -> None:
        for disturbance in self.plan.disturbances:
            self._spawn(lambda d=disturbance: self._disturb(d), disturbance.kind)
        for garbage in self.plan.garbage:
            self._spawn(lambda g=garbage: self._throw(g), garbage.kind)
        for number in range(COMMANDS_MOST):
            ending = self.plan.endings[min(number, len(self.plan.endings) - 1)]
            self.outcome.commands += 1
            self._command(ending, resumes=number > 0)
            if isinstance(self.events[-1], Finished) and ending.kind == "finish":
                return
            # Whoever resumes it looks at what was wrong first.
            self.scheduler.sleep(self.scheduler.random.random() * PAUSE_SECONDS)
            if self.plan.replays:
                self._replay()
        self._wrong(f"no verdict after {COMMANDS_MOST} commands")

    def _spawn(self, function: Any, name: str) -> Task:
        return self.scheduler.spawn(function, name=name, process=self._observer)

    def _command(self, ending: Ending, *, resumes: bool) -> None:
        process = Process(f"command-{self.outcome.commands}")
        self.substrate.new_command()
        SimulatedLedger.newest = None
        first = len(self.events)
        task = self.scheduler.spawn(lambda: self._execute(ending, resumes), name="main", process=process)
        task.joined_by.append(self.scheduler.current)  # type: ignore[arg-type]
        self.scheduler.block(ending.seconds if ending.kind == "kill" else None)
        if not task.done:
            process.alive = False
            if SimulatedLedger.newest is not None:
                SimulatedLedger.newest.die()
            return
        self._look_at_end(task.error, self.events[first:])

    def _execute(self, ending: Ending, resumes: bool) -> None:
        spec = self.plan.spec
        stop: Any = Event()
        run = runner.execute(
            spec,
            folder=self.folder,
            substrate=self.substrate,  # type: ignore[arg-type]
            source=IndexParameters(spec.parameters_total),
            clock=Clock(),
            stop=stop,
            earlier=Earlier(faults=faults_of(self.events)) if resumes else None,
        )
        shown_at: float | None = None
        with closing(run):
            for number, event in enumerate(run, 1):
                self.events.append(event)
                shown_at = self._look_at_event(event, shown_at)
                if isinstance(event, Finished):
                    self._look_at_verdict(event.verdict)
                if number == ending.event and ending.kind == "interrupt":
                    stop.set()
                if number == ending.event and ending.kind == "reader-gone":
                    return

    def _look_at_event(self, event: RunEvent, shown_at: float | None) -> float | None:
        if not isinstance(event, Progress):
            # What is no view may take its time: the end of the workers, the start of a broker.
            return shown_at if isinstance(event, (Notice, Fault)) else None
        now = self.scheduler.now
        done = event.snapshot.accounted == event.snapshot.chunks_total
        if shown_at is not None and not done and now - shown_at > GAP_SECONDS:
            self._wrong(f"no view for {now - shown_at:.2f} s at {now:.2f} s")
        if event.snapshot.elapsed_seconds > now + BLUR_SECONDS:
            self._wrong(f"after {now:.2f} s the view says {event.snapshot.elapsed_seconds} s")
        return now

    def _look_at_verdict(self, verdict: Verdict) -> None:
        self.outcome.verdict = verdict
        ledger = SimulatedLedger.newest
        assert ledger is not None
        wrong = wrong_in(
            verdict,
            self.plan,
            self.network,
            self.substrate,
            read_up_to=ledger.results_position,
            first_delivery_at=ledger.first_delivery_at or 0.0,
        )
        for what in wrong:
            self._wrong(what)

    def _look_at_end(self, error: BaseException | None, events: list[RunEvent]) -> None:
        """Nothing is left, or it is named."""
        known = (SubstrateError, BrokerError, sqlite3.OperationalError)
        if error is not None and not isinstance(error, known):
            self.outcome.wrong.append(f"{type(error).__name__}: {error}")
        named = [event.message for event in events if isinstance(event, Notice)]
        named += [str(error), *getattr(error, "__notes__", [])]
        said = any("could not" in line for line in named)
        last = events[-1] if events else None
        left = [worker.worker_id for worker in self.substrate.found if worker.running]
        if left and not said:
            self._wrong(f"{', '.join(left)} left running without a word")
        if not isinstance(last, Finished) and not self.network.down and not said:
            self._wrong("the broker was left running without a word")
        if isinstance(last, Finished) and self.network.down and not self._reader_went:
            self._wrong("after the verdict there is no broker")
        if error is None and not isinstance(last, (Finished, Interrupted)) and not self._reader_went:
            self._wrong("it ended without a word")

    @property
    def _reader_went(self) -> bool:
        endings = self.plan.endings
        return endings[min(self.outcome.commands, len(endings)) - 1].kind == "reader-gone"

    def _replay(self) -> None:
        if self.folder.ledger.exists():
            with closing(Ledger(self.folder.ledger, self.plan.spec)) as ledger:
                want_back(ledger, entries(ledger))
                ledger.commit()

    def _disturb(self, disturbance: Disturbance) -> None:
        self.scheduler.sleep(disturbance.at)
        network, substrate, kind = self.network, self.substrate, disturbance.kind
        if kind == "broker-away":
            network.go_out_of_reach()
        elif kind == "broker-full":
            self.full = True
        elif kind == "plane-away":
            substrate.plane_away = substrate.remote
        elif kind == "disk-full":
            SimulatedLedger.full = True
        else:
            for consumer in network.consumers[-1:]:
                consumer.cut = True
                consumer.lose()
        self.scheduler.sleep(disturbance.seconds)
        network.out_of_reach = self.full = substrate.plane_away = SimulatedLedger.full = False
        for consumer in network.consumers:
            if not any(act.kind == "partition" and act.ended_at is None for act in substrate.acts):
                consumer.cut = False

    def _throw(self, garbage: Garbage) -> None:
        self.scheduler.sleep(garbage.at)
        memory, spec = self.network.memory, self.plan.spec
        if not memory.exists(RUN) or isinstance(self.events[-1], Finished):
            return
        run, beyond = memory.run(RUN), spec.chunks_total + 3
        results = [m for m in run.results.messages.values() if isinstance(m, ChunkResult)]
        if garbage.kind == "task":
            memory.put_raw(RUN, b"\x00 no chunk")
        elif garbage.kind == "foreign-task":
            memory.put_raw(RUN, wire.encode(Chunk("another-run", 0, 0, 1)))
        elif garbage.kind == "result":
            run.results.append(Unreadable("\x00 no result", "not JSON"))
        elif garbage.kind == "repeated-result" and results:
            run.results.append(results[-1])
        else:
            chunk_id = beyond if garbage.kind == "foreign-result" else self.plan.seed % spec.chunks_total
            run.results.append(_result(chunk_id, b"[1]"))


def _result(chunk_id: int, values: bytes) -> ChunkResult:
    return ChunkResult(
        run_id=RUN,
        chunk_id=chunk_id,
        worker_id="nobody",
        attempt=1,
        redelivered=0,
        started_at=1.0,
        finished_at=1.0,
        digest=wire.digest(values),
        values=msgspec.Raw(values),
    )


@contextmanager
def simulation() -> Iterator[None]:
    """To be around any number of :func:`simulate`, whose modules are replaced once."""
    before: Any = runner.Ledger
    logging.disable(logging.CRITICAL)
    with replaced():
        runner.Ledger = SimulatedLedger  # type: ignore[misc]
        try:
            yield
        finally:
            runner.Ledger = before  # type: ignore[misc]
            logging.disable(logging.NOTSET)


def simulate(seed: int) -> Outcome:
    """The run that the seed makes, from its first command to its verdict."""
    plan = plan_of(seed)
    shared_memory = Path("/dev/shm")
    parent = shared_memory if shared_memory.is_dir() else None
    with TemporaryDirectory(prefix="ttgctl-simulation-", dir=parent) as folder, scheduled(seed) as scheduler:
        return World(plan, Path(folder), scheduler).run()


def failures_of(seeds: Iterable[int], *, most: int = 10) -> list[tuple[int, list[str]]]:
    """Every seed whose run went wrong, and what of it; ends after ``most`` of them."""
    found = []
    with simulation():
        for seed in seeds:
            try:
                wrong = simulate(seed).wrong
            # A bug of the simulation's, or an error that the run let through: also a finding.
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if wrong:
                found.append((seed, wrong))
                if len(found) == most:
                    break
    return found


def command_for(seed: int) -> str:
    """The shell command that runs the seed again."""
    return f'make simulate ARGS="{seed}"'
