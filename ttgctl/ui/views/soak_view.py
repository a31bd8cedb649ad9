"""What a soak came to, for people and for programs."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from ttgctl.core.records.soak_tally import SoakTally
from ttgctl.domain.verdict import FaultRecord, Verdict
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text


def run_line(verdict: Verdict) -> str:
    """One run in one line: its verdict, and what was done to it."""
    word = "lossless" if verdict.lossless else "NOT LOSSLESS"
    faults = ", ".join(map(_fault, verdict.faults)) or "no fault"
    return f"{word} in {formats.duration(verdict.seconds)}: {faults}"


def _fault(fault: FaultRecord) -> str:
    return fault.kind if fault.effect is not None else f"{fault.kind} (hit nothing)"


def soak_page(tally: SoakTally, *, where: str, seconds: float) -> RenderableType:
    """``where`` is backend and substrate, ``seconds`` how long it all took."""
    columns = (
        Column(title="FAULT"),
        Column(title="SURVIVED", right=True),
        Column(title="HIT NOTHING", right=True),
    )
    rows = [
        [kind, formats.count(tally.survived[kind]), formats.count(number - tally.survived[kind])]
        for kind, number in sorted(tally.injected.items())
    ]
    lines: list[RenderableType] = [
        f"{formats.counted(tally.runs, 'run')} on {where} lossless in {formats.duration(seconds)}: "
        f"{formats.chunks(tally.chunks)}, {tally.recovered:,} recovered, {tally.retried:,} retried, "
        f"{tally.duplicated:,} computed twice"
    ]
    if tally.redelivery_seconds:
        wait = formats.duration(tally.redelivery_seconds)
        lines.append(f"longest wait for a chunk that a fault took: {wait}")
    if rows:
        lines += ["", FittedTable(columns, rows)]
    return Group(*lines)


def soak_json(
    tally: SoakTally, *, seed: int, asked: int, seconds: float, failed: dict[str, Any] | None
) -> bytes:
    """One JSON object and a newline; ``failed`` is what is needed to repeat the run that ended it."""
    plain = {
        "seed": seed,
        "runs_asked": asked,
        "runs_lossless": tally.runs,
        "seconds": round(seconds, 1),
        "chunks": tally.chunks,
        "recovered": tally.recovered,
        "retried": tally.retried,
        "duplicated": tally.duplicated,
        "redelivery_max_seconds": tally.redelivery_seconds,
        "faults": {
            kind: {"injected": number, "survived": tally.survived[kind]}
            for kind, number in sorted(tally.injected.items())
        },
        "failed": failed,
    }
    return json_text(plain)
