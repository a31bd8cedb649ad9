"""What a watcher of a run knows after each event; pure, so that any thread may draw it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Phase, Progress, RunEvent, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.snapshot import Snapshot
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.text import wording

_KEPT_LINES: Final = 20


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """Something that happened, at Unix time ``at``. A fault's line grows as its proof comes in.

    A fault says itself how many seconds after the first delivery it was.
    """

    at: float
    level: Literal["info", "warning", "error", "fault"]
    text: str
    fault_id: int | None = None
    at_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run as told so far. ``phases`` holds one entry a name, ``news_at`` when it was last heard of."""

    spec: RunSpec | None = None
    started_at: float = 0.0
    news_at: float = 0.0
    phases: tuple[Phase, ...] = ()
    log: tuple[LogLine, ...] = ()
    snapshot: Snapshot | None = None
    first_delivery_at: float | None = None
    verdict: Verdict | None = None
    interrupted: str | None = None

    @property
    def ended(self) -> bool:
        return self.verdict is not None or self.interrupted is not None

    def seconds_of(self, line: LogLine) -> float:
        """When it was, in the seconds of :meth:`offset`."""
        return self.offset(line.at) if line.at_seconds is None else line.at_seconds

    def offset(self, at: float) -> float:
        """Seconds from the first delivery, as everywhere in a verdict; from the start before it."""
        return at - (self.started_at if self.first_delivery_at is None else self.first_delivery_at)

    def after(self, event: RunEvent) -> RunState:
        """The state with one more event in it."""
        known = replace(self, news_at=event.at, started_at=self.started_at or event.at)
        match event:
            case Started():
                # A resumed run begins anew: what stopped the last command is history.
                log = self.log
                if event.resumed:
                    log = known._with_line(LogLine(at=event.at, level="info", text="resumed"))
                return replace(known, spec=event.spec, phases=(), log=log, verdict=None, interrupted=None)
            case Phase():
                return replace(known, phases=_with_phase(self.phases, event))
            case Notice():
                return replace(
                    known, log=self._with_line(LogLine(at=event.at, level=event.level, text=event.message))
                )
            case Progress(snapshot=snapshot):
                # The newest says it best: a result may tell of a delivery before the first one seen.
                first = event.at - snapshot.elapsed_seconds if snapshot.elapsed_seconds > 0 else None
                return replace(known, snapshot=snapshot, first_delivery_at=first or self.first_delivery_at)
            case Fault(record=record):
                text = "; ".join([wording.fault_act(record), *wording.fault_proof(record, final=False)])
                line = LogLine(
                    at=event.at,
                    level="fault",
                    text=text,
                    fault_id=record.fault_id,
                    at_seconds=record.at_seconds,
                )
                return replace(known, log=self._with_line(line))
            case Finished():
                return replace(known, verdict=event.verdict)
            case Interrupted():
                return replace(known, interrupted=event.reason)

    def _with_line(self, line: LogLine) -> tuple[LogLine, ...]:
        if line.fault_id is not None:
            for index, old in enumerate(self.log):
                if old.fault_id == line.fault_id:
                    return (*self.log[:index], replace(line, at=old.at), *self.log[index + 1 :])
        return (*self.log, line)[-_KEPT_LINES:]


def _with_phase(phases: tuple[Phase, ...], phase: Phase) -> tuple[Phase, ...]:
    for index, old in enumerate(phases):
        if old.name == phase.name:
            # More lines of the same step tell how it goes on, not that it begins again.
            going_on = old.seconds is None and phase.seconds is None
            newer = replace(phase, at=old.at) if going_on else phase
            return (*phases[:index], newer, *phases[index + 1 :])
    return (*phases, phase)
