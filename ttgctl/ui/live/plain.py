"""Lines for a pipe, a file or a dumb terminal: no control characters, nothing drawn over."""

from __future__ import annotations

import sys
from typing import Final, TextIO

from ttgctl.domain.events import Fault, Finished, Interrupted, Notice, Phase, Progress, RunEvent, Started
from ttgctl.domain.snapshot import Snapshot
from ttgctl.ui.text import formats, wording

PROGRESS_EVERY_SECONDS: Final = 2.0


class PlainView:
    """A line an event, and one of progress every two seconds of the run's own time.

    With ``trouble_only`` it says what is a warning or worse and nothing else. Offsets are seconds
    from the start of the command.
    """

    def __init__(self, stream: TextIO | None = None, *, trouble_only: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._trouble_only = trouble_only
        self._started_at: float | None = None
        self._said_at: float | None = None
        self._unsaid: Progress | None = None
        self._phase_detail = ""
        self._faults: dict[int, str] = {}

    def show(self, event: RunEvent) -> None:
        if self._started_at is None or isinstance(event, Started):
            self._started_at = event.at
        if self._trouble_only and not _is_trouble(event):
            return
        match event:
            case Started():
                self._say(event.at, wording.started(event))
            case Phase(seconds=None | 0.0):
                self._phase_detail = event.detail
                self._say(event.at, f"{event.name}: {event.detail or 'started'}")
            case Phase():
                # What was seen before the workers were stopped comes before the word that they are.
                if event.name == "stop":
                    self._flush()
                detail = event.detail if event.detail != self._phase_detail else ""
                done = f"{event.name}: done in {formats.duration(event.seconds or 0.0)}"
                self._say(event.at, f"{done}, {detail}" if detail else done)
            case Notice():
                prefix = "" if event.level == "info" else f"{event.level}: "
                self._say(event.at, prefix + event.message)
            case Progress():
                self._progress(event)
            case Fault(record=record):
                text = "; ".join([wording.fault_act(record), *wording.fault_proof(record, final=False)])
                if self._faults.get(record.fault_id) != text:
                    self._faults[record.fault_id] = text
                    self._say(event.at, f"fault {record.fault_id}: {text}")
            case Finished():
                self._flush()
            case Interrupted():
                self._flush()
                self._say(event.at, f"stopped: {event.reason}")

    def close(self) -> None:
        self._flush()

    def _progress(self, event: Progress) -> None:
        if self._said_at is not None and event.at - self._said_at < PROGRESS_EVERY_SECONDS:
            self._unsaid = event
            return
        self._said_at, self._unsaid = event.at, None
        self._say(event.at, progress_text(event.snapshot))

    def _flush(self) -> None:
        """The last progress is said too, or the last line would not be where the run ended."""
        if self._unsaid is not None and not self._trouble_only:
            self._say(self._unsaid.at, progress_text(self._unsaid.snapshot))
            self._unsaid = None

    def _say(self, at: float, text: str) -> None:
        offset = at - (self._started_at or at)
        print(f"{offset:8.1f} s  {formats.one_line(text)}", file=self._stream, flush=True)


def progress_text(snapshot: Snapshot) -> str:
    """Progress in one line."""
    queues = snapshot.queues
    done = f"{snapshot.accounted:,}/{formats.chunks(snapshot.chunks_total)}"
    phrases = [
        f"{done} {formats.percent(snapshot.fraction)}",
        formats.rate(snapshot.chunks_per_second),
    ]
    if snapshot.accounted < snapshot.chunks_total:
        phrases.append(f"ETA {formats.eta(snapshot.eta_seconds)}")
    phrases.append(f"ready {queues.tasks:,}, in flight {queues.in_flight or 0:,}, retry {queues.retry:,}")
    busy = sum(row.state == "busy" for row in snapshot.workers)
    phrases.append(f"workers {len(snapshot.workers):,} ({busy:,} busy)")
    if age := formats.old_workers(snapshot.workers_age_seconds):
        phrases.append(age)
    for word, number in (
        ("redelivered", snapshot.redelivered),
        ("duplicates", snapshot.duplicated),
        ("dead letters", snapshot.dead_lettered),
        ("conflicts", snapshot.conflicting),
    ):
        if number:
            phrases.append(f"{word} {number:,}")
    return " · ".join(phrases)


def _is_trouble(event: RunEvent) -> bool:
    return isinstance(event, Interrupted) or (isinstance(event, Notice) and event.level != "info")
