"""A run while its broker is open: publishing, watching, reading, until every chunk is accounted for."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ttg_worker.brokers.base import Broker, Observer, QueueCounts
from ttg_worker.wire import Chunk
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.view import RunView
from ttgctl.core.ports import BrokerEndpoint
from ttgctl.core.run.broker_supervisor import BrokerSupervisor
from ttgctl.core.run.clock import Every
from ttgctl.core.run.ledger_reader import LedgerReader
from ttgctl.core.run.observation import Observation
from ttgctl.core.run.phases import in_phase
from ttgctl.core.run.publishing import Outstanding, Publishing
from ttgctl.core.run.queue_watch import QueueWatch
from ttgctl.core.run.quiescence import Quiescence
from ttgctl.core.run.run_setup import RunSetup
from ttgctl.core.run.stopped import Stopped
from ttgctl.core.run.worker_supervisor import WorkerSupervisor
from ttgctl.domain.events import Fault, Phase, Progress, RunEvent

FAULTS_SECONDS: Final = 0.05
SUPERVISE_SECONDS: Final = 0.1
SNAPSHOT_SECONDS: Final = 0.25


class OpenRun:
    """Made by :func:`open_run`, which ends its threads."""

    def __init__(self, setup: RunSetup, broker: Broker, observer: Observer, endpoint: BrokerEndpoint) -> None:
        spec, clock = setup.spec, setup.clock
        self._setup = setup
        self._reader = LedgerReader(observer, ledger=setup.ledger, injector=setup.injector, clock=clock)
        self._observation = Observation(spec, setup.ledger, self._reader.heartbeats)
        self._workers = WorkerSupervisor(spec, setup.substrate, endpoint, clock=clock)
        self._broker_supervisor = BrokerSupervisor(spec, setup.substrate, clock=clock)
        outstanding = _outstanding(setup.ledger, setup.put_back)
        self._publishing = Publishing(broker, spec, setup.source, outstanding)
        self._watch = QueueWatch(broker, spec.run_id)
        self._supervise = Every(SUPERVISE_SECONDS, clock=clock)
        self._inject = Every(FAULTS_SECONDS, clock=clock)
        self._show = Every(SNAPSHOT_SECONDS, clock=clock)

        if outstanding.again:
            setup.notes.append(
                f"{len(outstanding.again):,} chunks without an outcome were published again: their "
                "queues were gone, or the broker had lost them"
            )

    def start(self) -> None:
        self._publishing.start()
        self._watch.start()
        self._workers.start()

    def stop(self) -> None:
        """Ends the threads; what was published so far is in the ledger then. Idempotent."""
        self._workers.stop()
        self._publishing.stop()
        self._record_published()
        self._watch.stop()

    @property
    def counts(self) -> QueueCounts:
        """The newest, with the ledger's figures where the broker has none."""
        return self._observation.counts(self._watch.counts)

    def drain(self) -> Iterator[RunEvent]:
        """Goes on until every chunk is accounted for, or nothing that is missing can still come."""
        setup, clock = self._setup, self._setup.clock
        spec, ledger = setup.spec, setup.ledger
        yield Phase(at=clock.time(), name="publish", detail=f"{spec.chunks_total:,} chunks")
        started = clock.monotonic()
        while not self._publishing.finished:
            yield from self._turn()
        yield Phase(
            at=clock.time(),
            name="publish",
            detail=f"{spec.chunks_total:,} chunks confirmed",
            seconds=round(clock.monotonic() - started, 3),
        )
        quiescence = Quiescence(
            spec,
            ledger=ledger,
            watch=self._watch,
            workers=self._workers,
            heartbeats=self._reader.heartbeats,
            injector=setup.injector,
            clock=clock,
        )
        while True:
            yield from self._turn()
            if ledger.accounted == spec.chunks_total:
                return
            if quiescence.over():
                setup.notes.append(
                    "the queues are empty and no worker holds a chunk: what is missing is lost"
                    if spec.has_queue
                    else "nobody gets the share of a worker that died: what is missing of it is lost"
                )
                return

    def _turn(self) -> Iterator[RunEvent]:
        """Reads what has come, and does all else that is due."""
        setup, clock = self._setup, self._setup.clock
        try:
            setup.check_stop()
        except Stopped as stopped:
            stopped.counts = self.counts
            raise
        self._reader.read()
        for failure in (self._publishing.error, self._watch.failure):
            if failure is not None:
                raise failure
        if self._supervise.due():
            yield from self._workers.supervise()
            wanted_away = setup.injector.holds_broker_down
            yield from self._broker_supervisor.look(
                self._watch.error, trouble=self._watch.trouble, wanted_away=wanted_away
            )
        if self._inject.due():
            for record in setup.injector.tick(self._view()):
                yield Fault(at=clock.time(), record=record)
        self._record_published()
        if self._show.due():
            setup.ledger.commit()
            yield self._progress()

    def _record_published(self) -> None:
        self._setup.ledger.record_published(
            attempted=self._publishing.attempted, acknowledged=self._publishing.acknowledged
        )
        if self._publishing.again_finished:
            self._setup.ledger.published_again()

    def _view(self) -> RunView:
        return self._observation.view(
            now=self._setup.clock.time(),
            workers=self._workers.workers,
            broker_answers=self._watch.error is None,
        )

    def _progress(self) -> Progress:
        now = self._setup.clock.time()
        snapshot = self._observation.snapshot(
            now=now,
            queues=self._watch.counts,
            broker_state=self._watch.state,
            workers=self._workers.workers,
            workers_age_seconds=self._workers.age_seconds,
        )
        return Progress(at=now, snapshot=snapshot)

    def finish(self) -> Iterator[RunEvent]:
        """Undoes faults, ends the workers, takes in what they gave meanwhile, and judges."""
        setup = self._setup
        spec, substrate = setup.spec, setup.substrate
        yield from setup.undo_faults()
        yield self._progress()
        self._workers.stop()
        yield from in_phase("stop", lambda say: substrate.stop_workers(spec.run_id), clock=setup.clock)
        queues = self._watch.last_counts(drained=spec.has_queue, clock=setup.clock)
        # What workers gave in the meantime belongs to the account as well: duplicates, mostly.
        while not self._reader.read():
            pass
        self.stop()
        setup.ledger.commit()
        yield setup.verdict(queues, finished=True)


def _outstanding(ledger: Ledger, put_back: Sequence[Chunk]) -> Outstanding:
    """What is not on the queues yet, and, those being gone, what was on them; but not what was put back."""
    again = array("Q")
    if ledger.is_to_publish_again:
        back = {(chunk.chunk_id, chunk.offsets) for chunk in put_back}
        missing = ledger.missing(ledger.acknowledged)
        again.extend(c for c in missing if (c, ledger.outstanding_offsets(c)) not in back)
    return Outstanding(ledger.acknowledged, again, ledger.known_chunks(), ledger.parts_outstanding())


@contextmanager
def open_run(
    setup: RunSetup, broker: Broker, observer: Observer, endpoint: BrokerEndpoint
) -> Generator[OpenRun, None, None]:
    """The run with its threads, which have ended when this returns: they use the broker."""
    run = OpenRun(setup, broker, observer, endpoint)
    run.start()
    try:
        yield run
    finally:
        run.stop()
