"""What a fault plan comes to, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ttgctl.core.faults.forecast import Forecast
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text


def forecast_table(rows: Sequence[Forecast]) -> RenderableType:
    """The plan in its order; what can't be injected is said below it, once each."""
    if not rows:
        return Text("no fault is planned")
    columns = (
        Column(title="FAULT"),
        Column(title="WHEN"),
        Column(title="VICTIMS", drop=1),
        Column(title="POSSIBLE"),
    )
    table = FittedTable(
        columns,
        [
            [
                row.fault,
                row.when,
                row.victims,
                Text("yes") if row.problem is None else Text("no", style="red"),
            ]
            for row in rows
        ],
    )
    problems = dict.fromkeys(row.problem for row in rows if row.problem is not None)
    return Group(table, *(Text(problem, style="red") for problem in problems))


def forecast_json(rows: Sequence[Forecast]) -> bytes:
    """An array with one object a row of the table."""
    return json_text(rows)
