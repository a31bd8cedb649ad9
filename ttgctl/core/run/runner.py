"""A run from publish to verdict, as one stream of events; whoever iterates it renders it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from ttg_worker.backoff import Outage
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Broker, QueueCounts
from ttg_worker.errors import BrokerFull, BrokerUnavailable, QueuesGone
from ttg_worker.wire import Chunk
from ttgctl.core.account.dead_letters import settle_with_broker
from ttgctl.core.account.judgement import known_digests
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.account.reuse import take_over
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import Clock, Substrate, SubstrateError
from ttgctl.core.records.run_folder import RunFolder, find_run
from ttgctl.core.records.run_record import Earlier
from ttgctl.core.run.broker_supervisor import BrokerSupervisor
from ttgctl.core.run.open_run import open_run
from ttgctl.core.run.phases import in_phase
from ttgctl.core.run.publishing import FULL_SECONDS
from ttgctl.core.run.run_setup import RunSetup
from ttgctl.core.run.stopped import Stopped
from ttgctl.domain.events import Interrupted, Phase, RunEvent, Started
from ttgctl.domain.run import RunSpec

CONNECT_SECONDS: Final = 60.0
_NO_QUEUES: Final = QueueCounts(tasks=0, in_flight=0, retry=0, dead=0, results=0)


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
    ``SubstrateError``, ``MissingRequirement`` or ``BrokerError``, also then with all stopped; what
    could not be stopped is in the error's notes.
    """
    with _ledger_of(spec, folder) as ledger:
        setup = RunSetup(
            spec,
            ledger=ledger,
            substrate=substrate,
            source=source,
            clock=clock,
            stop=stop,
            earlier=earlier or Earlier(),
        )
        try:
            try:
                # Inside of it all: what a command that was killed left running is ended as well.
                yield Started(at=clock.time(), spec=spec, resumed=earlier is not None)
                yield from _work(setup)
            except Stopped as stopped:
                yield from setup.let_go(stopped)
                yield Interrupted(at=clock.time(), reason=stopped.reason, timed_out=stopped.timed_out)
            except QueuesGone as error:
                raise QueuesGone(
                    f"{error}; somebody deleted them. What has no result is published again by: "
                    f"ttgctl resume {spec.run_id}"
                ) from error
        # Whoever renders the events fails or has enough. What can't be ended must be told all the same.
        except GeneratorExit as error:
            failures = setup.abandon(error)
            if failures:
                raise SubstrateError("; ".join(failures)) from None
            raise
        except BaseException as error:
            setup.abandon(error)
            raise


@contextmanager
def _ledger_of(spec: RunSpec, folder: RunFolder) -> Iterator[Ledger]:
    ledger = Ledger(folder.ledger, spec, expected_digest=known_digests(spec))
    try:
        yield ledger
    except BaseException:
        # What can't be written is noted by then, and must not take the place of what went wrong.
        with suppress(sqlite3.Error):
            ledger.close()
        raise
    ledger.close()


def _work(setup: RunSetup) -> Iterator[RunEvent]:
    spec, substrate, clock = setup.spec, setup.substrate, setup.clock
    yield from _reuse(setup)
    if setup.ledger.accounted == spec.chunks_total and not setup.ledger.acknowledged:
        # Nothing is left to be computed, so nothing has to be started.
        setup.ledger.record_published(attempted=spec.chunks_total, acknowledged=spec.chunks_total)
        yield setup.verdict(_NO_QUEUES, finished=True)
        return
    yield from in_phase("substrate", substrate.ensure, clock=clock)
    setup.check_stop()
    endpoint = yield from in_phase("broker", lambda say: substrate.start_broker(spec, say), clock=clock)
    if endpoint.management_url is not None:
        yield Phase(at=clock.time(), name="ui", detail=endpoint.management_url, seconds=0.0)
    with closing(open_broker(endpoint.host_url, options=spec.delivery)) as broker:
        back = setup.put_back = yield from _take_up(setup, broker)
        if back:
            yield Phase(at=clock.time(), name="replay", detail=f"{len(back):,} dead letters are tasks again")
        yield from in_phase("workers", lambda say: substrate.start_workers(spec, endpoint), clock=clock)
        with (
            closing(broker.observer(spec.run_id)) as observer,
            open_run(setup, broker, observer, endpoint) as run,
        ):
            yield from run.drain()
            yield from run.finish()


def _reuse(setup: RunSetup) -> Iterator[Phase]:
    spec, ledger = setup.spec, setup.ledger
    if spec.reuse and ledger.reused is None:
        count = take_over(ledger, spec, setup.source, [find_run(run_id) for run_id in spec.reuse])
        what = f"{count:,} of {spec.parameters_total:,} parameters are known from {', '.join(spec.reuse)}"
        yield Phase(at=setup.clock.time(), name="reuse", detail=what)


def _take_up(setup: RunSetup, broker: Broker) -> Generator[RunEvent, None, list[Chunk]]:
    """Makes the queues, or finds them, and puts back what the ledger wants back; returns that."""
    outage = Outage(patience_seconds=CONNECT_SECONDS)
    supervisor = BrokerSupervisor(setup.spec, setup.substrate, clock=setup.clock)
    while True:
        setup.check_stop()
        try:
            back = _try_to_take_up(broker, setup.spec.run_id, setup.ledger)
            yield from supervisor.look(None, trouble=None, wanted_away=False)
            return back
        except BrokerFull as error:
            yield from supervisor.look(None, trouble=str(error), wanted_away=False)
            setup.clock.sleep(FULL_SECONDS)
        except BrokerUnavailable as error:
            setup.clock.sleep(outage.pause_after(error))


def _try_to_take_up(broker: Broker, run_id: str, ledger: Ledger) -> list[Chunk]:
    # Gone with the broker's storage, removed, or on another broker: ledger and parameters are enough.
    if ledger.attempted and not broker.exists(run_id):
        # Where one of several is missing, the others go as well: all count from 0 then.
        broker.drop(run_id)
        ledger.begin_again()
    broker.declare(run_id)
    return settle_with_broker(broker, run_id, ledger)
