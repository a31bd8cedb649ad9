"""What a run is made of before its broker is there, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ttg_worker.brokers.base import QueueCounts
from ttg_worker.wire import Chunk
from ttgctl.core.account.judgement import judge
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import Clock, Substrate
from ttgctl.core.records.run_record import Earlier
from ttgctl.core.run.stopped import Stopped
from ttgctl.core.run.teardown import Teardown
from ttgctl.domain.events import Fault, Finished, Notice, Phase, RunEvent
from ttgctl.domain.faults import parse_plan
from ttgctl.domain.run import RunSpec


class RunSetup:
    """The collaborators of one run. ``notes`` go into its verdict; ``put_back`` are chunks of dead letters
    that are tasks again."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        ledger: Ledger,
        substrate: Substrate,
        source: ParameterSource,
        clock: Clock,
        stop: threading.Event,
        earlier: Earlier,
    ) -> None:
        self.spec = spec
        self.ledger = ledger
        self.substrate = substrate
        self.source = source
        self.clock = clock
        resumes = bool(earlier.faults or ledger.attempted)
        self.injector = FaultInjector(
            parse_plan(spec.faults),
            spec=spec,
            substrate=substrate,
            clock=clock,
            earlier=earlier.faults,
            resumes=resumes,
        )
        self.notes: list[str] = ["resumed by a later command"] if resumes else []
        self.put_back: list[Chunk] = []
        self._stop = stop
        self._deadline = None if spec.timeout_seconds is None else clock.monotonic() + spec.timeout_seconds
        self._teardown = Teardown(
            (
                ("undo the faults", self.injector.undo),
                ("stop the workers", lambda: substrate.stop_workers(spec.run_id)),
                ("stop the broker", lambda: substrate.stop_broker(spec)),
                ("write the ledger", ledger.commit),
            )
        )

    def check_stop(self) -> None:
        """Raises :class:`Stopped` when somebody asked for it or the run's time is over."""
        if self._stop.is_set():
            raise Stopped("interrupted")
        if self._deadline is not None and self.clock.monotonic() > self._deadline:
            raise Stopped(f"timed out after {self.spec.timeout_seconds:g} s", timed_out=True)

    def undo_faults(self) -> Iterator[Fault]:
        for record in self.injector.undo():
            yield Fault(at=self.clock.time(), record=record)

    def verdict(self, queues: QueueCounts, *, finished: bool) -> Finished:
        verdict = judge(
            self.ledger,
            self.spec,
            queues=queues,
            faults=self.injector.records,
            waits=self.injector.waits,
            notes=self.notes,
            finished=finished,
        )
        return Finished(at=self.clock.time(), verdict=verdict)

    def let_go(self, stopped: Stopped) -> Iterator[RunEvent]:
        """Ends what runs and keeps what a later command needs; judges a run that timed out."""
        yield from self.undo_faults()
        yield Phase(at=self.clock.time(), name="stop", detail="stopping workers")
        for failure in self._teardown.carry_out():
            yield Notice(at=self.clock.time(), level="warning", message=failure)
        if stopped.timed_out and stopped.counts is not None:
            yield self.verdict(stopped.counts, finished=False)

    def abandon(self, error: BaseException) -> list[str]:
        """Ends what runs when nobody hears of events any more; what fails is noted at the ``error`` too."""
        failures = self._teardown.carry_out()
        for failure in failures:
            error.add_note(failure)
        return failures
