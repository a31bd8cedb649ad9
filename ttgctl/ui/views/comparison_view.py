"""Runs side by side on a terminal: a line a kind of run, then what was left in its queues."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ttg_worker.brokers.base import ROLES
from ttgctl.core.records.comparison import Cell
from ttgctl.ui.text import formats, wording
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text


class ComparisonView:
    """The table of the milestone's report, turned so that it fits a terminal."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = cells

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self._cells:
            yield Text("no run with a verdict to compare")
            return
        yield self._results()
        yield Text()
        yield self._queues()
        if any(cell.runs > 1 for cell in self._cells):
            yield Text()
            yield Text("times and rates are medians over the runs of a line")

    def _results(self) -> FittedTable:
        columns = (
            Column(title="BACKEND"),
            Column(title="SUBSTRATE", drop=6),
            Column(title="FAULT"),
            Column(title="RUNS", right=True, drop=5),
            Column(title="CHUNKS", right=True, drop=1),
            Column(title="RUNTIME", right=True),
            Column(title="THROUGHPUT", right=True, drop=4),
            Column(title="REDELIVERED", right=True, drop=2),
            Column(title="REPLACED", right=True, drop=3),
            Column(title="DATA LOSS"),
        )
        return FittedTable(
            columns,
            [
                [
                    cell.backend,
                    cell.substrate,
                    "yes" if cell.faulted else "no",
                    formats.count(cell.runs),
                    f"{cell.ok:,}/{cell.attempted:,}",
                    formats.duration(cell.seconds),
                    formats.rate(cell.parameters_per_second, of="p"),
                    formats.duration(cell.recovery_seconds),
                    formats.duration(cell.replaced_seconds),
                    Text(wording.loss(cell), style="green" if cell.lossless == cell.runs else "bold red"),
                ]
                for cell in self._cells
            ],
        )

    def _queues(self) -> FittedTable:
        columns = (
            Column(title="QUEUES AFTER"),
            Column(title="FAULT"),
            *(Column(title=role.rsplit(".", 1)[-1], right=True) for role in ROLES),
        )
        return FittedTable(
            columns,
            [
                [
                    cell.backend,
                    "yes" if cell.faulted else "no",
                    *(formats.count(cell.queues_after.get(role, 0)) for role in ROLES),
                ]
                for cell in self._cells
            ],
        )


def comparison_json(cells: Sequence[Cell]) -> bytes:
    """The same as one JSON array and a newline."""
    return json_text(cells)
