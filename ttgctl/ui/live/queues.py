"""The four queue roles as a table or, where room is short, as a line."""

from __future__ import annotations

from rich.text import Text

from ttg_worker.brokers.base import DLQ, RESULTS, RETRY, TASKS, QueueCounts
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable, Flow


def queues_table(counts: QueueCounts) -> FittedTable:
    columns = (
        Column(title="queue"),
        Column(title="ready", right=True),
        Column(title="in flight", right=True, drop=1),
    )
    rows: list[list[str | Text]] = [
        [TASKS, formats.count(counts.tasks), _known(counts.in_flight)],
        [RETRY, formats.count(counts.retry), ""],
        [DLQ, _dead(counts), ""],
        [RESULTS, _known(counts.results), ""],
    ]
    return FittedTable(columns, rows)


def queues_line(counts: QueueCounts) -> Flow:
    return Flow(
        [
            f"tasks {counts.tasks:,} + {_known(counts.in_flight)} in flight",
            f"retry {counts.retry:,}",
            Text("dlq ").append_text(_dead(counts)),
            f"results {_known(counts.results)}",
        ]
    )


def _dead(counts: QueueCounts) -> Text:
    return Text(_known(counts.dead), style="bold red" if counts.dead else "")


def _known(number: int | None) -> str:
    return "?" if number is None else formats.count(number)
