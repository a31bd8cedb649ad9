"""What became of a run, from the files of its folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ttgctl.core.records.event_log import last_events
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_lock import is_taken
from ttgctl.domain.events import Finished, Interrupted, Progress
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode

_WORDS: Final = {
    ExitCode.LOSSLESS: "lossless",
    ExitCode.LOSS: "loss",
    ExitCode.DEAD_LETTERS: "dead letters",
    ExitCode.TIMED_OUT: "incomplete",
    ExitCode.SUBSTRATE: "no effect",
}


@dataclass(frozen=True)
class RunSummary:
    """``state``: ``running``, ``finished``, ``interrupted``, or ``abandoned`` when its command died."""

    spec: RunSpec
    state: str
    accounted: int | None
    verdict: str | None
    seconds: float | None


def summary(folder: RunFolder, spec: RunSpec) -> RunSummary:
    """Reads the end of the run's events only, so that a long history lists quickly."""
    accounted: int | None = None
    verdict = None
    state = "running" if is_taken(folder.lock) else "abandoned"
    seconds = None
    for event in last_events(folder.events):
        if isinstance(event, Progress):
            accounted, seconds = event.snapshot.accounted, event.snapshot.elapsed_seconds
        elif isinstance(event, Finished):
            verdict, seconds = _WORDS[event.verdict.exit_code], event.verdict.seconds
            accounted = event.verdict.chunks.ok + event.verdict.chunks.dead_lettered
            state = "finished" if state == "abandoned" else state
        elif isinstance(event, Interrupted) and state != "running":
            state = "interrupted"
    return RunSummary(spec, state, accounted, verdict, seconds)
