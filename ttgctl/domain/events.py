"""The one stream of events that a run gives; every view, file and report is a reader of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ttgctl.domain.run import RunSpec
from ttgctl.domain.snapshot import Snapshot
from ttgctl.domain.verdict import FaultRecord, Verdict

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A command took the run up: the first, or one that resumes it."""

    at: float
    spec: RunSpec
    resumed: bool


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A step of the way (``cluster``, ``broker``, ``workers``, ``publish``, …) began or is done.

    ``seconds`` is None at its beginning.
    """

    at: float
    name: str
    detail: str
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something a watcher wants to know: a worker lost or replaced, the broker gone or back."""

    at: float
    level: Level
    message: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Four times a second."""

    at: float
    snapshot: Snapshot


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault was injected, or more of its proof came in: the newest of a ``fault_id`` counts."""

    at: float
    record: FaultRecord


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The verdict; the last event of a run that was not interrupted."""

    at: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """The command let go of the run before it was complete; ``reason`` says why."""

    at: float
    reason: str
    timed_out: bool = False


RunEvent = Started | Phase | Notice | Progress | Fault | Finished | Interrupted
