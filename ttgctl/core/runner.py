"""A run from publish to verdict, as one stream of events; whoever iterates it renders it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import count

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Broker, Observer, QueueCounts, Recorded, Unreadable
from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttg_worker.wire import ChunkResult, DeadLetter
from ttgctl.core.dead_letters import settle_with_broker
from ttgctl.core.fault_injector import FaultInjector
from ttgctl.core.judgement import expected_digest, judge
from ttgctl.core.ledger import Ledger
from ttgctl.core.narrated import narrated
from ttgctl.core.observation import Observation
from ttgctl.core.parameters import ParameterSource
from ttgctl.core.ports import (
    BrokerEndpoint,
    Clock,
    MissingRequirement,
    Substrate,
    SubstrateError,
    WorkerStatus,
)
from ttgctl.core.publishing import Publishing
from ttgctl.core.queue_watch import QueueWatch
from ttgctl.core.run_folder import RunFolder
from ttgctl.core.run_view import RunView
from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Phase, Progress, RunEvent, Started
from ttgctl.domain.faults import parse_plan
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord

TICK_SECONDS = 0.05
SUPERVISE_SECONDS = 0.1
SNAPSHOT_SECONDS = 0.25
# So long at most reading results before the loop looks at anything else.
READ_SECONDS = 0.1
READ_BETWEEN_LOOKS = 500
# A broker that is away for so long is started again, if it is ours.
BROKER_PATIENCE_SECONDS = 3.0
# And the run is let go of, to be resumed, when it does not come back for so long.
BROKER_GIVE_UP_SECONDS = 300.0
CONNECT_SECONDS = 60.0
# Queues are empty, nobody holds anything, and chunks are missing: after so long they are lost.
SETTLE_SECONDS = 3.0
FRESH_SECONDS = 3.0
LAST_COUNT_SECONDS = 5.0


class _Stopped(Exception):
    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


@dataclass(frozen=True)
class News:
    """What comes from the broker, each with None whenever there is nothing more for now."""

    results: Iterator[Recorded[ChunkResult | Unreadable] | None]
    letters: Iterator[Recorded[DeadLetter | Unreadable] | None]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an earlier command on the same run left: faults must not be injected twice."""

    faults: tuple[FaultRecord, ...] = ()


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
    with ExitStack() as stack:
        known = (lambda chunk_id: expected_digest(spec, chunk_id)) if spec.synthetic else None
        ledger = stack.enter_context(closing(Ledger(folder.ledger, spec, expected_digest=known)))
        run = _Run(spec, ledger, substrate, source, clock, stop, earlier or Earlier())
        yield Started(at=clock.time(), spec=spec, resumed=earlier is not None)
        try:
            yield from run.work()
        except _Stopped as stopped:
            yield from run.let_go(timed_out=stopped.timed_out)
            yield Interrupted(at=clock.time(), reason=stopped.reason, timed_out=stopped.timed_out)
        # Also when whoever renders the events fails or has enough, which closes this generator.
        except BaseException:
            run.undo_faults()
            run.stop_threads()
            substrate.stop_workers(spec.run_id)
            substrate.stop_broker(spec)
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
        self._workers: list[WorkerStatus] = []
        self._publishing: Publishing | None = None
        self._watch: QueueWatch | None = None
        self._broker_away_since: float | None = None
        self._broker_restart: threading.Thread | None = None
        self._restart_problem: str | None = None
        self._last_change = clock.monotonic()
        self._deadline = None if spec.timeout_seconds is None else clock.monotonic() + spec.timeout_seconds
        self._notes: list[str] = ["resumed by a later command"] if earlier.faults or ledger.attempted else []

    def work(self) -> Iterator[RunEvent]:
        spec, substrate, clock = self._spec, self._substrate, self._clock
        yield from narrated("substrate", substrate.ensure, clock=clock)
        self._check_stop()
        endpoint = yield from narrated("broker", lambda say: substrate.start_broker(spec, say), clock=clock)
        if endpoint.management_url is not None:
            yield Phase(at=clock.time(), name="ui", detail=endpoint.management_url, seconds=0.0)
        with closing(open_broker(endpoint.host_url, options=spec.delivery)) as broker:
            self._check_stop()
            back = _take_up(broker, spec.run_id, self._ledger)
            if back:
                yield Phase(at=clock.time(), name="replay", detail=f"{back:,} dead letters are tasks again")
            yield from narrated("workers", lambda say: substrate.start_workers(spec, endpoint), clock=clock)
            with closing(broker.observer(spec.run_id)) as observer:
                news = News(
                    observer.results(after=self._ledger.results_position),
                    observer.dead_letters(after=self._ledger.dead_letters_position),
                )
                try:
                    yield from self._drain(broker, observer, news, endpoint)
                    yield from self._finish(news)
                finally:
                    # They use the broker, which is closed next.
                    self.stop_threads()

    def _drain(
        self, broker: Broker, observer: Observer, news: News, endpoint: BrokerEndpoint
    ) -> Iterator[RunEvent]:
        spec, ledger, clock = self._spec, self._ledger, self._clock
        publishing = Publishing(broker, spec, self._source, first=ledger.acknowledged)
        watch = QueueWatch(broker, spec.run_id)
        self._publishing, self._watch = publishing, watch
        publishing.start()
        watch.start()
        yield Phase(at=clock.time(), name="publish", detail=f"{spec.chunks_total:,} chunks")
        started = clock.monotonic()
        tick = supervise = shown = -1.0
        published = False
        while True:
            self._check_stop()
            self._read(news)
            self._observation.see_beats(observer.beats())
            now = clock.monotonic()
            for failure in (publishing.error, watch.failure):
                if failure is not None:
                    raise failure
            if publishing.finished and not published:
                published = True
                # Patience with what is missing begins here, and not when the broker was started.
                self._last_change = now
                yield Phase(
                    at=clock.time(),
                    name="publish",
                    detail=f"{spec.chunks_total:,} chunks confirmed",
                    seconds=round(now - started, 3),
                )
            if now - supervise >= SUPERVISE_SECONDS:
                supervise = now
                yield from self._supervise(endpoint)
                yield from self._look_after_broker(watch)
            if now - tick >= TICK_SECONDS:
                tick = now
                for record in self._injector.tick(self._view()):
                    yield Fault(at=clock.time(), record=record)
            ledger.record_published(attempted=publishing.attempted, acknowledged=publishing.acknowledged)
            if now - shown >= SNAPSHOT_SECONDS:
                shown = now
                ledger.commit()
                yield self._progress(watch)
            if published and ledger.accounted == spec.chunks_total:
                return
            if published and self._settled(watch):
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

    def _read(self, news: News) -> bool:
        """Records what has come; False when there was more than it had time for."""
        ledger = self._ledger
        before = ledger.results_position, ledger.dead_letters_position
        until = self._clock.monotonic() + READ_SECONDS
        caught_up = False
        for number in count(1):
            recorded = next(news.results)
            if recorded is None:
                caught_up = True
                break
            first = ledger.record_result(recorded)
            if first is not None:
                ledger.saw_delivery(first.started_at)
            if isinstance(recorded.message, ChunkResult):
                self._injector.saw_result(recorded.message)
            if number % READ_BETWEEN_LOOKS == 0 and self._clock.monotonic() > until:
                break
        for dead in news.letters:
            if dead is None:
                break
            letter = ledger.record_dead_letter(dead)
            if letter is not None:
                self._injector.saw_dead_letter(letter)
        if before != (ledger.results_position, ledger.dead_letters_position):
            self._last_change = self._clock.monotonic()
        return caught_up

    def _supervise(self, endpoint: BrokerEndpoint) -> Iterator[Notice]:
        before = {w.uid: w for w in self._workers if w.running}
        self._substrate.start_workers(self._spec, endpoint)
        self._workers = self._substrate.workers(self._spec.run_id)
        running = {w.uid: w for w in self._workers if w.running}
        if not before:
            return
        for uid in before.keys() - running.keys():
            yield self._notice("warning", f"{before[uid].worker_id} is gone")
        for uid in running.keys() - before.keys():
            yield self._notice("info", f"{running[uid].worker_id} started")

    def _look_after_broker(self, watch: QueueWatch) -> Iterator[Notice]:
        now = self._clock.monotonic()
        if watch.error is None:
            if self._broker_away_since is not None:
                away = now - self._broker_away_since
                self._broker_away_since = None
                yield self._notice("info", f"the broker is back after {away:.1f} s")
            return
        self._last_change = now
        if self._broker_away_since is None:
            self._broker_away_since = now
            yield self._notice("warning", f"the broker does not answer: {watch.error}")
        elif now - self._broker_away_since > BROKER_GIVE_UP_SECONDS:
            raise BrokerUnavailable(f"no broker for {BROKER_GIVE_UP_SECONDS:.0f} s: {watch.error}")
        elif now - self._broker_away_since > BROKER_PATIENCE_SECONDS and not self._injector.holds_broker_down:
            self._restart_broker()
        if self._restart_problem is not None:
            yield self._notice("warning", f"the broker could not be started again: {self._restart_problem}")
            self._restart_problem = None

    def _restart_broker(self) -> None:
        if self._broker_restart is None or not self._broker_restart.is_alive():
            self._broker_restart = threading.Thread(target=self._start_broker_again, daemon=True)
            self._broker_restart.start()

    def _start_broker_again(self) -> None:
        try:
            self._substrate.start_broker(self._spec, lambda line: None)
        except (SubstrateError, MissingRequirement, BrokerError) as error:
            self._restart_problem = str(error)
            # It may work later; meanwhile not every moment.
            self._clock.sleep(BROKER_PATIENCE_SECONDS)

    def _view(self) -> RunView:
        now, ledger = self._clock.time(), self._ledger
        return RunView(
            fraction=ledger.accounted / self._spec.chunks_total,
            elapsed_seconds=self._observation.elapsed_seconds(now),
            first_delivery_at=ledger.first_delivery_at,
            now=now,
            chunks_per_second=self._observation.chunks_per_second,
            beats=self._observation.beats,
            workers=self._workers,
            has_result=ledger.has_result,
            broker_answers=self._watch is None or self._watch.error is None,
        )

    def _progress(self, watch: QueueWatch) -> Progress:
        now = self._clock.time()
        state = "ok" if watch.error is None else "unreachable"
        snapshot = self._observation.snapshot(
            now=now, queues=watch.counts, broker_state=state, workers=self._workers
        )
        return Progress(at=now, snapshot=snapshot)

    def _settled(self, watch: QueueWatch) -> bool:
        """Whether nothing that is missing can still come."""
        counts, now = watch.counts, self._clock.time()
        running = {w.worker_id for w in self._workers if w.running}
        beats = [b for b in self._observation.beats.values() if b.worker_id in running]
        fresh = [b for b in beats if now - b.at < FRESH_SECONDS]
        # Without a queue nobody comes for what is left, nor in place of the workers that are gone.
        if self._spec.has_queue and (not fresh or not _empty(counts)):
            self._last_change = self._clock.monotonic()
            return False
        if watch.error is not None or any(b.held for b in fresh) or self._injector.unsettled:
            self._last_change = self._clock.monotonic()
            return False
        patience = SETTLE_SECONDS + (self._spec.delivery.lease_seconds if counts.in_flight is None else 0.0)
        # A worker that fell silent may hold chunks for as long as its connection is believed in.
        if len(fresh) < len(running):
            patience += 2 * self._spec.delivery.lease_seconds + FRESH_SECONDS
        return self._clock.monotonic() - self._last_change > patience

    def _finish(self, news: News) -> Iterator[RunEvent]:
        spec, ledger, clock = self._spec, self._ledger, self._clock
        assert self._watch is not None
        for record in self._injector.undo():
            yield Fault(at=clock.time(), record=record)
        yield self._progress(self._watch)
        yield from narrated("stop", lambda say: self._substrate.stop_workers(spec.run_id), clock=clock)
        self._workers = []
        queues = self._last_counts(self._watch)
        # What workers gave in the meantime belongs to the account as well: duplicates, mostly.
        while not self._read(news):
            pass
        self.stop_threads()
        ledger.commit()
        yield self._verdict(queues, finished=True)

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

    def _last_counts(self, watch: QueueWatch) -> QueueCounts:
        """Counts after the last ack came through; RabbitMQ's lag behind by moments."""
        deadline = self._clock.monotonic() + LAST_COUNT_SECONDS
        seen = watch.round
        while self._clock.monotonic() < deadline:
            counts = watch.counts
            if watch.round > seen and (_empty(counts) or not self._spec.has_queue):
                break
            self._clock.sleep(TICK_SECONDS)
        return replace(watch.counts)

    def let_go(self, *, timed_out: bool) -> Iterator[RunEvent]:
        """Ends what runs and keeps what a later command needs; judges a run that timed out."""
        spec, clock = self._spec, self._clock
        for record in self._injector.undo():
            yield Fault(at=clock.time(), record=record)
        yield Phase(at=clock.time(), name="stop", detail="stopping workers")
        self.stop_threads()
        self._substrate.stop_workers(spec.run_id)
        self._substrate.stop_broker(spec)
        self._ledger.commit()
        if timed_out and self._watch is not None:
            yield self._verdict(self._observation.counts(self._watch.counts), finished=False)

    def undo_faults(self) -> None:
        """For an end in an error, when nobody hears of the faults any more."""
        self._injector.undo()

    def stop_threads(self) -> None:
        if self._publishing is not None:
            self._publishing.stop()
            self._ledger.record_published(
                attempted=self._publishing.attempted, acknowledged=self._publishing.acknowledged
            )
        if self._watch is not None:
            self._watch.stop()

    def _notice(self, level: str, message: str) -> Notice:
        return Notice(at=self._clock.time(), level=level, message=message)  # type: ignore[arg-type]


def _empty(counts: QueueCounts) -> bool:
    """Whether no chunk waits for a worker or is with one, as far as the broker can say."""
    return not (counts.tasks or counts.retry or counts.in_flight)


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


def faults_of(events: Sequence[RunEvent]) -> tuple[FaultRecord, ...]:
    """The newest record of every fault among the events."""
    newest = {event.record.fault_id: event.record for event in events if isinstance(event, Fault)}
    return tuple(newest[fault_id] for fault_id in sorted(newest))
