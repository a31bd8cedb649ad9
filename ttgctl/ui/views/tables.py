"""The tables that commands answer with, each for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from ttgctl.core.ports import Check, OwnedResource
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text

_STATUS_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run in the list of runs. ``verdict`` is a word or two, None while there is none.

    ``started_at`` in Unix seconds; ``chunks_done`` None where nothing is known yet.
    """

    run_id: str
    backend: str
    substrate: str
    started_at: float
    state: str
    chunks_done: int | None
    chunks_total: int
    verdict: str | None = None
    seconds: float | None = None


def runs_table(rows: Sequence[RunRow], *, now: float) -> RenderableType:
    """Runs in the order given; ``now`` in Unix seconds, for their ages."""
    if not rows:
        return Text("no run on this machine yet; start one with: ttgctl demo")
    columns = (
        Column(title="RUN"),
        Column(title="BACKEND", drop=4),
        Column(title="SUBSTRATE", drop=5),
        Column(title="AGE", right=True, drop=2),
        Column(title="STATE", drop=3),
        Column(title="CHUNKS", right=True, drop=1),
        Column(title="VERDICT"),
        Column(title="TIME", right=True, drop=6),
    )
    return FittedTable(
        columns,
        [
            [
                row.run_id,
                row.backend,
                row.substrate,
                formats.age(now - row.started_at),
                row.state,
                f"{'?' if row.chunks_done is None else f'{row.chunks_done:,}'}/{row.chunks_total:,}",
                _verdict_text(row.verdict),
                formats.duration(row.seconds),
            ]
            for row in rows
        ],
    )


def runs_json(rows: Sequence[RunRow]) -> bytes:
    return json_text(rows)


def owned_table(resources: Sequence[OwnedResource], *, now: float) -> RenderableType:
    """What ttgctl made, with a line that counts it; foreign things are marked and left alone."""
    own = sum(not resource.foreign for resource in resources)
    foreign = len(resources) - own
    counted = f"{formats.counted(own, 'object')} of ttgctl"
    if foreign:
        counted += f", {foreign:,} foreign left alone"
    if not resources:
        return Text("nothing of ttgctl is here")
    columns = (
        Column(title="KIND"),
        Column(title="NAMESPACE", drop=3),
        Column(title="NAME"),
        Column(title="UID", drop=4),
        Column(title="AGE", right=True, drop=2),
        Column(title="RUN", drop=1),
        Column(title="", drop=0 if foreign else 9),
    )
    rows = [
        [
            resource.kind,
            resource.namespace or "",
            formats.one_line(resource.name),
            resource.uid,
            "-" if resource.created_at is None else formats.age(now - resource.created_at),
            resource.run_id or "",
            Text("foreign", style="yellow") if resource.foreign else "",
        ]
        for resource in resources
    ]
    return Group(FittedTable(columns, rows), Text(counted))


def owned_json(resources: Sequence[OwnedResource]) -> bytes:
    return json_text(resources)


def problems_table(problems: Sequence[Check]) -> RenderableType:
    """A line a check with its state in words, and under it what to do where it is not ok."""
    columns = (Column(title="STATE"), Column(title="CHECK"), Column(title="DETAIL"))
    rows: list[list[str | Text]] = []
    for problem in problems:
        detail = Text(formats.one_line(problem.detail))
        if problem.fix and problem.status != "ok":
            detail.append(f"\nfix: {formats.one_line(problem.fix)}", style="bold")
        rows.append([Text(problem.status, style=_STATUS_STYLES[problem.status]), problem.check, detail])
    numbers = {status: sum(p.status == status for p in problems) for status in _STATUS_STYLES}
    summary = ", ".join(f"{number} {status}" for status, number in numbers.items() if number)
    return Group(FittedTable(columns, rows), Text(summary or "nothing was checked"))


def problems_json(problems: Sequence[Check]) -> bytes:
    return json_text(problems)


def _verdict_text(verdict: str | None) -> Text:
    if verdict is None:
        return Text("-")
    return Text(verdict, style="green" if verdict == "lossless" else "bold red")
