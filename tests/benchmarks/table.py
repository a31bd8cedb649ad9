"""The benchmark's one table, for people and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from benchmarks.throughput import Aim, Throughput
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text

PACKAGES: Final = ("ttgctl", "pika", "redis", "celery", "dramatiq")


@dataclass(frozen=True, kw_only=True)
class Report:
    """``notes`` say what was left out, and why."""

    repeat: int
    throughput: Sequence[Throughput]
    aims: Sequence[Aim]
    notes: Sequence[str]


def report_table(report: Report) -> RenderableType:
    parts: list[RenderableType] = []
    if report.throughput:
        parts += [_throughput_table(report.throughput), Text("")]
    if report.aims:
        parts += [_aims_table(report.aims), Text("")]
    parts += [Text(line, style="dim") for line in (_circumstances(report.repeat), *report.notes)]
    return Group(*parts)


def report_json(report: Report) -> bytes:
    document: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform(), **_versions()},
        "repeat": report.repeat,
        "throughput": [asdict(row) for row in report.throughput],
        "aims": [{**asdict(aim), "met": aim.met} for aim in report.aims],
        "notes": list(report.notes),
    }
    return json_text(document)


def _throughput_table(rows: Sequence[Throughput]) -> FittedTable:
    columns = (
        Column(title="WHAT"),
        Column(title="BACKEND"),
        Column(title="WORKERS", right=True),
        Column(title="CHUNKS/S", right=True),
        Column(title="SPREAD", right=True, drop=2),
        Column(title="OF CEILING", right=True),
        Column(title="x CELERY", right=True, drop=1),
        Column(title="x DRAMATIQ", right=True, drop=1),
    )
    return FittedTable(
        columns,
        [
            [
                row.what,
                row.backend,
                "-" if row.workers is None else str(row.workers),
                f"{row.chunks_per_second:,.0f}",
                _spread(row.rates),
                "-" if row.of_ceiling is None else formats.percent(row.of_ceiling),
                "-" if row.times_celery is None else f"{row.times_celery:.1f}",
                "-" if row.times_dramatiq is None else f"{row.times_dramatiq:.1f}",
            ]
            for row in rows
        ],
    )


def _spread(rates: Sequence[float]) -> str:
    return f"{min(rates):,.0f}-{max(rates):,.0f}" if len(rates) > 1 else ""


def _aims_table(aims: Sequence[Aim]) -> FittedTable:
    columns = (
        Column(title="AIM"),
        Column(title="WANTED", right=True),
        Column(title="MEASURED", right=True),
        Column(title="MET"),
    )
    return FittedTable(
        columns,
        [
            [
                aim.what,
                f"{'at least' if aim.least else 'at most'} {_figure(aim.wanted, aim.unit)}",
                _figure(aim.measured, aim.unit),
                Text("yes", style="green") if aim.met else Text("no", style="bold red"),
            ]
            for aim in aims
        ],
    )


def _figure(value: float, unit: str) -> str:
    if unit == "share":
        return formats.percent(value)
    if unit == "s":
        return f"{value:.2f} s"
    return f"{value:.1f} {unit}"


def _circumstances(repeat: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"{os.cpu_count()} CPUs, brokers on the same machine, medians of {repeat}; {versions}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
