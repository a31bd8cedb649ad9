"""One frame of the live view: as much of the run as fits the terminal, the most important first."""

from __future__ import annotations

from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from ttgctl.domain.events import Phase
from ttgctl.domain.snapshot import Snapshot, WorkerRow
from ttgctl.ui.live.queues import queues_line, queues_table
from ttgctl.ui.live.run_state import LogLine, RunState
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable, Flow

Lines = list[list[Segment]]

SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WIDE: Final = 110
_LOG_LINES: Final = 5
_SILENCE_SECONDS: Final = 3.0
_STATE_STYLES: Final = {"busy": "green", "idle": "dim"}
_PASSING_STATES: Final = ("starting", "reconnecting", "stopping")
_LEVEL_STYLES: Final = {"info": "", "warning": "yellow", "error": "bold red", "fault": "bold magenta"}


class Frame:
    """``now`` in Unix seconds. ``height`` is the number of lines that it may take, never more.

    ``final`` leaves out what changes, for the frame that stays when the view is over.
    """

    def __init__(self, run_state: RunState, *, now: float, height: int, final: bool = False) -> None:
        self._run_state = run_state
        self._now = now
        self._height = max(1, height)
        self._final = final

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for number, line in enumerate(self._lines(console, options)[: self._height]):
            if number:
                yield Segment.line()
            yield from Segment.adjust_line_length(line, options.max_width, pad=False)

    def _lines(self, console: Console, options: ConsoleOptions) -> Lines:
        def drawn(renderable: RenderableType) -> Lines:
            return console.render_lines(renderable, options.update(height=None), pad=False)

        run_state = self._run_state
        head = drawn(self._header())
        phases = [line for phase in self._phases() for line in drawn(phase)]
        # A verdict follows, and tells of each fault what there is to tell.
        judged = self._final and run_state.verdict is not None
        told = [entry for entry in run_state.log if not (judged and entry.level == "fault")]
        log = [drawn(self._log_line(entry)) for entry in told[-_LOG_LINES:]]
        snapshot = run_state.snapshot
        if snapshot is None:
            room = max(0, self._height - len(head) - len(phases))
            return [*head, *phases, *_newest(log, room)]
        head += (
            drawn(_bar(snapshot, width=options.max_width))
            + drawn(_figures(snapshot, ended=run_state.ended))
            + phases
        )
        if self._final:
            return [*head, *_newest(log, self._height - len(head))]
        if options.max_width >= _WIDE:
            queues, log = drawn(self._side_by_side(snapshot)), []
        else:
            queues = drawn(queues_table(snapshot.queues))
        blank: Lines = [[]]
        workers_least = min(1 + len(snapshot.workers), 4)
        spare = self._height - len(head) - len(queues) - 2 * len(blank)
        if spare >= workers_least + (len(blank) + 1 if log else 0):
            news = _newest(log, spare - workers_least - len(blank))
            if news:
                news = blank + news
            workers = drawn(_workers(snapshot.workers, lines=spare - len(news)))
            return [*head, *blank, *queues, *blank, *workers, *news]
        # A low terminal: queues as a line, nothing blank, the newest of the log cut to a line each.
        queues = drawn(queues_line(snapshot.queues))
        spare = self._height - len(head) - len(queues)
        news = _newest([lines[:1] for lines in log], min(3, spare - min(workers_least, 3)))
        return [*head, *queues, *drawn(_workers(snapshot.workers, lines=spare - len(news))), *news]

    def _header(self) -> RenderableType:
        run_state = self._run_state
        snapshot, spec = run_state.snapshot, run_state.spec
        phrases: list[str | Text] = []
        if spec is not None:
            phrases = [Text(spec.run_id, style="bold"), f"{spec.backend} on {spec.substrate}"]
        if run_state.interrupted is not None:
            phrases.append(Text(f"stopped: {formats.one_line(run_state.interrupted)}", style="bold yellow"))
        elif run_state.verdict is not None:
            phrases.append(f"done in {formats.duration(run_state.verdict.seconds)}")
        elif snapshot is not None and run_state.first_delivery_at is not None:
            phrases.append(formats.duration(max(0.0, run_state.offset(self._now))))
        if snapshot is not None and not run_state.ended and snapshot.broker_state not in ("", "up", "ok"):
            phrases.append(Text(f"broker {formats.one_line(snapshot.broker_state)}", style="bold yellow"))
        if (
            snapshot is not None
            and not run_state.ended
            and (age := formats.old_workers(snapshot.workers_age_seconds))
        ):
            phrases.append(Text(age, style="bold yellow"))
        silent = self._now - run_state.news_at
        waiting = any(phase.seconds is None for phase in run_state.phases)
        if snapshot is not None and not run_state.ended and not waiting and silent > _SILENCE_SECONDS:
            phrases.append(Text(f"no news for {formats.duration(silent)}", style="yellow"))
        return Flow(phrases)

    def _phases(self) -> list[RenderableType]:
        """All of them until chunks move, then the ones still under way."""
        run_state = self._run_state
        moving = run_state.first_delivery_at is not None
        return [
            self._phase(phase)
            for phase in run_state.phases
            if not moving or (phase.seconds is None and not run_state.ended)
        ]

    def _phase(self, phase: Phase) -> RenderableType:
        if phase.seconds is None:
            mark = Text(SPINNER[int(self._now * 8) % len(SPINNER)] if not self._run_state.ended else "-")
            seconds = max(0.0, self._now - phase.at)
        else:
            mark, seconds = Text("✓", style="green"), phase.seconds
        row = Table.grid(padding=(0, 1, 0, 0), pad_edge=False, expand=True)
        row.add_column(no_wrap=True, width=1)
        row.add_column(no_wrap=True, min_width=8)
        row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        row.add_column(no_wrap=True, justify="right", min_width=8)
        row.add_row(
            mark, Text(phase.name), Text(formats.one_line(phase.detail)), Text(formats.duration(seconds))
        )
        return row

    def _log_line(self, entry: LogLine) -> RenderableType:
        row = Table.grid(padding=(0, 1, 0, 0), pad_edge=False)
        row.add_column(no_wrap=True, justify="right", min_width=8, style="dim")
        row.add_column(overflow="fold")
        text = formats.one_line(entry.text)
        word = f"{entry.level}: " if entry.level in ("warning", "error") else ""
        row.add_row(
            Text(formats.duration(self._run_state.seconds_of(entry))),
            Text(word + text, style=_LEVEL_STYLES[entry.level]),
        )
        return row

    def _side_by_side(self, snapshot: Snapshot) -> RenderableType:
        row = Table.grid(padding=(0, 4, 0, 0), pad_edge=False)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1)
        log = Table.grid()
        for entry in self._run_state.log[-_LOG_LINES:]:
            log.add_row(self._log_line(entry))
        row.add_row(queues_table(snapshot.queues), log)
        return row


def _newest(entries: list[Lines], room: int) -> Lines:
    """The newest entries that fit, whole; of one that is too long alone, its beginning."""
    chosen: Lines = []
    for lines in reversed(entries):
        if len(chosen) + len(lines) > room:
            return chosen or lines[: max(0, room)]
        chosen = lines + chosen
    return chosen


def _bar(snapshot: Snapshot, *, width: int) -> RenderableType:
    row = Table.grid(padding=(0, 1, 0, 0), pad_edge=False, expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    style = "green" if snapshot.accounted >= snapshot.chunks_total else "cyan"
    bar = ProgressBar(
        total=snapshot.chunks_total,
        completed=snapshot.accounted,
        complete_style=style,
        finished_style=style,
    )
    figures = f"{snapshot.accounted:,}/{formats.chunks(snapshot.chunks_total)}"
    if width < 60:
        figures = f"{snapshot.accounted:,}/{snapshot.chunks_total:,}"
    row.add_row(bar, Text(f"{figures} {formats.percent(snapshot.fraction):>5}", style="bold"))
    return row


def _figures(snapshot: Snapshot, *, ended: bool) -> RenderableType:
    phrases: list[str | Text] = [
        formats.rate(snapshot.chunks_per_second),
        f"ETA {formats.eta(snapshot.eta_seconds)}" if not ended and snapshot.fraction < 1 else "",
        formats.rate(snapshot.parameters_per_second, of="parameters"),
        f"redelivered {snapshot.redelivered:,}",
        f"duplicates {snapshot.duplicated:,}",
        f"retried {snapshot.retried:,}" if snapshot.retried else "",
        Text(f"dead letters {snapshot.dead_lettered:,}", style="bold red") if snapshot.dead_lettered else "",
        Text(f"conflicts {snapshot.conflicting:,}", style="bold red") if snapshot.conflicting else "",
        f"published {snapshot.published:,}" if snapshot.published < snapshot.chunks_total else "",
    ]
    return Flow(phrases)


_WORKER_COLUMNS: Final = (
    Column(title="worker", cut=True),
    Column(title="state"),
    Column(title="chunk", right=True, drop=3),
    Column(title="done", right=True),
    Column(title="rate", right=True, drop=2),
    Column(title="seen", right=True, drop=4),
    Column(title="failed", right=True, drop=5),
    Column(title="node", drop=6, cut=True),
)


def _workers(rows: tuple[WorkerRow, ...], *, lines: int) -> RenderableType:
    """The workers in at most ``lines`` lines, header included; those in trouble are never left out first."""
    if not rows:
        return Text("no worker heard of yet", style="dim")
    room = lines - 1
    shown, hidden = rows, tuple[WorkerRow, ...]()
    if len(rows) > room:
        room = max(0, room - 1)
        ranked = sorted(range(len(rows)), key=lambda index: (rows[index].state in _STATE_STYLES, index))
        chosen = set(ranked[:room])
        shown = tuple(row for index, row in enumerate(rows) if index in chosen)
        hidden = tuple(row for index, row in enumerate(rows) if index not in chosen)
    table = FittedTable(_WORKER_COLUMNS, [_worker_cells(row) for row in shown])
    if not hidden:
        return table
    states: dict[str, int] = {}
    for row in hidden:
        states[row.state] = states.get(row.state, 0) + 1
    more = ", ".join(f"{number:,} {state}" for state, number in states.items())
    rest = Text(f"… and {len(hidden):,} more ({more})", style="dim", no_wrap=True, overflow="ellipsis")
    both = Table.grid()
    if shown:
        both.add_row(table)
    both.add_row(rest)
    return both


def _worker_cells(row: WorkerRow) -> list[str | Text]:
    passing = "yellow" if row.state in _PASSING_STATES else "bold red"
    return [
        formats.one_line(row.worker_id),
        Text(row.state, style=_STATE_STYLES.get(row.state, passing)),
        "-" if row.chunk_id is None else formats.count(row.chunk_id),
        formats.count(row.done),
        formats.rate(row.chunks_per_second),
        formats.duration(row.last_seen_seconds),
        formats.count(row.failed) if row.failed else "",
        formats.one_line(row.node or ""),
    ]
