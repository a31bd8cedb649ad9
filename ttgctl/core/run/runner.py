"""A run from publish to verdict, as one stream of events; whoever iterates it renders it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Broker, Observer, QueueCounts
from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttgctl.core.account.dead_letters import settle_with_broker
from ttgctl.core.account.judgement import judge, known_digests
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import BrokerEndpoint, Clock, Substrate
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import Earlier
from ttgctl.core.run.broker_supervisor import BrokerSupervisor
from ttgctl.core.run.clock import Every
from ttgctl.core.run.ledger_reader import LedgerReader
from ttgctl.core.run.observation import Observation
from ttgctl.core.run.phases import in_phase
from ttgctl.core.run.publishing import Publishing
from ttgctl.core.run.queue_watch import QueueWatch
from ttgctl.core.run.quiescence import Quiescence
from ttgctl.core.run.worker_supervisor import WorkerSupervisor
from ttgctl.domain.events import Fault, Finished, Interrupted, Phase, Progress, RunEvent, Started
from ttgctl.domain.faults import parse_plan
from ttgctl.domain.run import RunSpec

FAULTS_SECONDS = 0.05
SUPERVISE_SECONDS = 0.1
SNAPSHOT_SECONDS = 0.25
CONNECT_SECONDS = 60.0


class _Stopped(Exception):
    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


def execute(
    spec: RunSpec,
    *,
    folder: RunFolder,
    substrate: Substrate,
    source: ParameterSource,
    clock: Clock,
    stop: threading.Event,
    earlier: Earlier | None = None,
) -> Generator[RunEvent, None, None]:
    """Runs, or with ``earlier`` resumes, and ends with :class:`Finished` or :class:`Interrupted`.

    Every step may be done already: what is there is found and used. When ``stop`` is set the
    workers end, the broker stops with its storage kept, and the run can be resumed. Raises
    ``SubstrateError``, ``MissingRequirement`` or ``BrokerError``, also then with all stopped.
    """
    with closing(Ledger(folder.ledger, spec, expected_digest=known_digests(spec))) as ledger:
        run = _Run(spec, ledger, substrate, source, clock, stop, earlier or Earlier())
        yield Started(at=clock.time(), spec=spec, resumed=earlier is not None)
        try:
            yield from run.work()
        except _Stopped as stopped:
            yield from run.let_go(timed_out=stopped.timed_out)
            yield Interrupted(at=clock.time(), reason=stopped.reason, timed_out=stopped.timed_out)
        # Also when whoever renders the events fails or has enough, which closes this generator.
        except BaseException:
            run.abandon()
            raise


class _Run:
    def __init__(
        self,
        spec: RunSpec,
        ledger: Ledger,
        substrate: Substrate,
        source: ParameterSource,
        clock: Clock,
        stop: threading.Event,
        earlier: Earlier,
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._substrate = substrate
        self._source = source
        self._clock = clock
        self._stop = stop
        self._observation = Observation(spec, ledger)
        self._injector = FaultInjector(
            parse_plan(spec.faults), spec=spec, substrate=substrate, clock=clock, earlier=earlier.faults
        )
        self._worker_supervisor = WorkerSupervisor(spec, substrate, clock=clock)
        self._broker_supervisor = BrokerSupervisor(spec, substrate, clock=clock)
        self._publishing: Publishing | None = None
        self._watch: QueueWatch | None = None
        self._deadline = None if spec.timeout_seconds is None else clock.monotonic() + spec.timeout_seconds
        self._notes: list[str] = ["resumed by a later command"] if earlier.faults or ledger.attempted else []

    def work(self) -> Iterator[RunEvent]:
        spec, substrate, clock = self._spec, self._substrate, self._clock
        yield from in_phase("substrate", substrate.ensure, clock=clock)
        self._check_stop()
        endpoint = yield from in_phase("broker", lambda say: substrate.start_broker(spec, say), clock=clock)
        if endpoint.management_url is not None:
            yield Phase(at=clock.time(), name="ui", detail=endpoint.management_url, seconds=0.0)
        with closing(open_broker(endpoint.host_url, options=spec.delivery)) as broker:
            self._check_stop()
            back = _take_up(broker, spec.run_id, self._ledger)
            if back:
                yield Phase(at=clock.time(), name="replay", detail=f"{back:,} dead letters are tasks again")
            yield from in_phase("workers", lambda say: substrate.start_workers(spec, endpoint), clock=clock)
            with closing(broker.observer(spec.run_id)) as observer:
                ledger_reader = LedgerReader(
                    observer, ledger=self._ledger, injector=self._injector, clock=clock
                )
                try:
                    publishing, watch = self._start_threads(broker)
                    yield from self._drain(observer, ledger_reader, endpoint, publishing, watch)
                    yield from self._finish(ledger_reader, watch)
                finally:
                    # They use the broker, which is closed next.
                    self._stop_threads()

    def _start_threads(self, broker: Broker) -> tuple[Publishing, QueueWatch]:
        spec = self._spec
        self._publishing = Publishing(broker, spec, self._source, first=self._ledger.acknowledged)
        self._watch = QueueWatch(broker, spec.run_id)
        self._publishing.start()
        self._watch.start()
        return self._publishing, self._watch

    def _drain(
        self,
        observer: Observer,
        ledger_reader: LedgerReader,
        endpoint: BrokerEndpoint,
        publishing: Publishing,
        watch: QueueWatch,
    ) -> Iterator[RunEvent]:
        """Goes on until every chunk is accounted for, or nothing that is missing can still come."""
        spec, ledger, clock = self._spec, self._ledger, self._clock
        yield Phase(at=clock.time(), name="publish", detail=f"{spec.chunks_total:,} chunks")
        started = clock.monotonic()
        supervise = Every(SUPERVISE_SECONDS, clock=clock)
        inject = Every(FAULTS_SECONDS, clock=clock)
        show = Every(SNAPSHOT_SECONDS, clock=clock)
        quiescence: Quiescence | None = None
        while True:
            self._check_stop()
            ledger_reader.read()
            self._observation.see_heartbeats(observer.heartbeats())
            for failure in (publishing.error, watch.failure):
                if failure is not None:
                    raise failure
            if publishing.finished and quiescence is None:
                quiescence = self._quiescence(watch)
                yield Phase(
                    at=clock.time(),
                    name="publish",
                    detail=f"{spec.chunks_total:,} chunks confirmed",
                    seconds=round(clock.monotonic() - started, 3),
                )
            if supervise.due():
                yield from self._worker_supervisor.supervise(endpoint)
                yield from self._broker_supervisor.look(
                    watch.error, wanted_away=self._injector.holds_broker_down
                )
            if inject.due():
                view = self._observation.view(
                    now=clock.time(),
                    workers=self._worker_supervisor.workers,
                    broker_answers=watch.error is None,
                )
                for record in self._injector.tick(view):
                    yield Fault(at=clock.time(), record=record)
            ledger.record_published(attempted=publishing.attempted, acknowledged=publishing.acknowledged)
            if show.due():
                ledger.commit()
                yield self._progress(watch)
            if quiescence is None:
                continue
            if ledger.accounted == spec.chunks_total:
                return
            if quiescence.over(self._worker_supervisor):
                self._notes.append(
                    "the queues are empty and no worker holds a chunk: what is missing is lost"
                    if spec.has_queue
                    else "nobody gets the share of a worker that died: what is missing of it is lost"
                )
                return

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stopped("interrupted")
        if self._deadline is not None and self._clock.monotonic() > self._deadline:
            raise _Stopped(f"timed out after {self._spec.timeout_seconds:g} s", timed_out=True)

    def _quiescence(self, watch: QueueWatch) -> Quiescence:
        return Quiescence(
            self._spec,
            ledger=self._ledger,
            watch=watch,
            observation=self._observation,
            injector=self._injector,
            clock=self._clock,
        )

    def _progress(self, watch: QueueWatch) -> Progress:
        now = self._clock.time()
        snapshot = self._observation.snapshot(
            now=now,
            queues=watch.counts,
            broker_state="ok" if watch.error is None else "unreachable",
            workers=self._worker_supervisor.workers,
        )
        return Progress(at=now, snapshot=snapshot)

    def _finish(self, ledger_reader: LedgerReader, watch: QueueWatch) -> Iterator[RunEvent]:
        yield from self._undo_faults()
        yield self._progress(watch)
        stop_workers = self._substrate.stop_workers
        yield from in_phase("stop", lambda say: stop_workers(self._spec.run_id), clock=self._clock)
        queues = watch.last_counts(drained=self._spec.has_queue, clock=self._clock)
        # What workers gave in the meantime belongs to the account as well: duplicates, mostly.
        while not ledger_reader.read():
            pass
        self._stop_threads()
        self._ledger.commit()
        yield self._verdict(queues, finished=True)

    def _undo_faults(self) -> Iterator[Fault]:
        for record in self._injector.undo():
            yield Fault(at=self._clock.time(), record=record)

    def _verdict(self, queues: QueueCounts, *, finished: bool) -> Finished:
        verdict = judge(
            self._ledger,
            self._spec,
            queues=queues,
            faults=self._injector.records,
            waits=self._injector.waits,
            notes=self._notes,
            finished=finished,
        )
        return Finished(at=self._clock.time(), verdict=verdict)

    def let_go(self, *, timed_out: bool) -> Iterator[RunEvent]:
        """Ends what runs and keeps what a later command needs; judges a run that timed out."""
        yield from self._undo_faults()
        yield Phase(at=self._clock.time(), name="stop", detail="stopping workers")
        self._end()
        self._ledger.commit()
        if timed_out and self._watch is not None:
            yield self._verdict(self._observation.counts(self._watch.counts), finished=False)

    def abandon(self) -> None:
        """The same for an end in an error, when nobody hears of events any more."""
        self._injector.undo()
        self._end()

    def _end(self) -> None:
        self._stop_threads()
        self._substrate.stop_workers(self._spec.run_id)
        self._substrate.stop_broker(self._spec)

    def _stop_threads(self) -> None:
        if self._publishing is not None:
            self._publishing.stop()
            self._ledger.record_published(
                attempted=self._publishing.attempted, acknowledged=self._publishing.acknowledged
            )
        if self._watch is not None:
            self._watch.stop()


@retry(
    retry=retry_if_exception_type(BrokerUnavailable),
    wait=wait_fixed(0.2),
    stop=stop_after_delay(CONNECT_SECONDS),
    reraise=True,
)
def _take_up(broker: Broker, run_id: str, ledger: Ledger) -> int:
    """Makes the queues, or finds them, and puts back what the ledger wants back; returns how many."""
    # Positions count from 0 again in new queues, so a ledger that has some can't go on with these.
    used = ledger.acknowledged or max(ledger.results_position, ledger.dead_letters_position) >= 0
    if used and not broker.exists(run_id):
        raise BrokerError(
            f"the queues of run {run_id} are gone, and the chunks in them; "
            f"repeat the run with: ttgctl replay {run_id}"
        )
    broker.declare(run_id)
    return settle_with_broker(broker, run_id, ledger)
