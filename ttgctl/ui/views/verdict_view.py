"""The verdict, for people and for programs."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ttg_worker.brokers.base import DLQ, RETRY, TASKS
from ttgctl.domain.verdict import FaultRecord, Verdict
from ttgctl.ui.text import formats, wording
from ttgctl.ui.text.fitted_table import Column, FittedTable, Flow
from ttgctl.ui.text.json_text import json_text

_FIRST_KEYS: Final = (
    "run_id",
    "backend",
    "substrate",
    "lossless",
    "chunks",
    "lost_chunks",
    "parameters",
    "seconds",
    "parameters_per_second",
    "queues_after",
    "faults",
    "schema",
)
_FIRST_FAULT_KEYS: Final = (
    "kind",
    "victim",
    "at_seconds",
    "chunks_held",
    "redelivered_seconds",
    "replaced_seconds",
)
_ACCOUNT: Final = (
    ("attempted", "attempted"),
    ("acknowledged", "acknowledged"),
    ("ok", "ok"),
    ("lost", "lost"),
    ("duplicated", "duplicated"),
    ("recovered", "recovered"),
    ("conflicting", "conflicting"),
    ("unexpected", "unexpected"),
    ("retried", "retried"),
    ("dead_lettered", "dead-lettered"),
)
_ERRORS_SHOWN: Final = 3
_BAD: Final = ("lost", "conflicting", "unexpected", "dead_lettered")


def verdict_json(verdict: Verdict) -> bytes:
    """One JSON object and a newline: first the keys that other programs know, in their order, then
    the rest. Seconds and rates to three places."""
    plain = msgspec.to_builtins(verdict)
    plain["faults"] = [_ordered(fault, _FIRST_FAULT_KEYS) for fault in plain["faults"]]
    return json_text(_rounded(_ordered(plain, _FIRST_KEYS)))


def _ordered(mapping: dict[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    return {key: mapping[key] for key in first} | mapping


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


class VerdictView:
    """The verdict as a page of text: what was proven, then the figures that prove it."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        verdict = self._verdict
        for line in wording.headlines(verdict):
            yield Text(line, style="bold green" if line.startswith("LOSSLESS") else "bold red")
        yield Flow(
            [
                f"run {verdict.run_id}",
                f"{verdict.backend} on {verdict.substrate}",
                f"{_parameters(verdict)} in {formats.duration(verdict.seconds)}",
                formats.rate(verdict.parameters_per_second, of="parameters"),
                _checksum(verdict),
            ]
        )
        yield Text()
        yield self._figures(options.max_width)
        if verdict.dead_letter_causes:
            causes = [f"{cause} {number:,}" for cause, number in verdict.dead_letter_causes.items()]
            yield Text()
            yield Flow([f"dead letters by cause: {causes[0]}", *causes[1:]])
        if verdict.errors:
            yield Text()
            yield from _errors(verdict)
        if verdict.faults:
            yield Text()
            yield Text("faults", style="bold")
            for record in verdict.faults:
                yield from _fault(record)
        # Of a single chunk the line above has said it already.
        if verdict.recovery is not None and sum(len(f.chunks_held) for f in verdict.faults) > 1:
            recovery = verdict.recovery
            yield Flow(
                [
                    f"redelivery p50 {formats.duration(recovery.p50_seconds)}",
                    f"p99 {formats.duration(recovery.p99_seconds)}",
                    f"max {formats.duration(recovery.max_seconds)}",
                ]
            )
        if verdict.notes:
            yield Text()
            yield Text("notes", style="bold")
            for note in verdict.notes:
                yield Text(f"- {formats.one_line(note)}")
        if verdict.exit_code:
            yield Text()
            code = verdict.exit_code
            yield Text(f"exit code {code.value}: {wording.EXIT_CODES[code]}", style="red")

    def _figures(self, width: int) -> Table:
        account, queues = self._account(), self._queues()
        page = Table.grid(padding=(0, 6, 0, 0), pad_edge=False)
        if width >= 60:
            page.add_row(account, queues)
        else:
            page.add_row(account)
            page.add_row(Text())
            page.add_row(queues)
        return page

    def _account(self) -> FittedTable:
        rows: list[list[str | Text]] = []
        for name, word in _ACCOUNT:
            number = getattr(self._verdict.chunks, name)
            style = "bold red" if name in _BAD and number else ""
            rows.append([Text(word, style=style), Text(formats.count(number), style=style)])
        return FittedTable((Column(title="chunks"), Column(title="", right=True)), rows)

    def _queues(self) -> FittedTable:
        rows = [
            [role, formats.count(number), _queue_words(role, number)]
            for role, number in self._verdict.queues_after.items()
        ]
        columns = (
            Column(title="queue after"),
            Column(title="messages", right=True),
            Column(title="", drop=1),
        )
        return FittedTable(columns, rows)


def _parameters(verdict: Verdict) -> str:
    account = verdict.parameters
    if account.ok == account.total and not verdict.reused:
        return f"{account.ok:,} parameters"
    rest = [(verdict.reused, "reused"), (account.failed, "failed"), (account.lost, "lost")]
    words = [f"{number:,} {word}" for number, word in rest if number]
    return ", ".join([f"{account.ok:,} of {account.total:,} parameters", *words])


def _errors(verdict: Verdict) -> RenderResult:
    """Why parameters failed, and what to do about it."""
    yield Text("failed parameters", style="bold")
    for summary in verdict.errors[:_ERRORS_SHOWN]:
        first = ", ".join(map(str, summary.parameters))
        more = ", …" if summary.count > len(summary.parameters) else ""
        yield Flow([f"{summary.count:,} x {formats.one_line(summary.error)}", f"parameters {first}{more}"])
    others = verdict.errors[_ERRORS_SHOWN:]
    if others:
        yield Text(f"and {len(others)} other errors")
    run_id = verdict.run_id
    yield Flow(
        [
            f"look: ttgctl dlq list {run_id}",
            f"ttgctl results {run_id} --failed",
            f"again: ttgctl dlq replay {run_id} --workload fixed.py:f",
        ]
    )


def _checksum(verdict: Verdict) -> Text:
    word = wording.checksum_word(verdict)
    styles = {"ok": "green", "mismatch": "bold red", "unknown": ""}
    return Text(f"checksum {word}", style=styles[word])


def _queue_words(role: str, number: int) -> str:
    words = {TASKS: ("all consumed", "left over"), RETRY: ("", "still waiting"), DLQ: ("", "given up")}
    none, some = words.get(role, ("", ""))
    return some if number else none


def _fault(record: FaultRecord) -> RenderResult:
    act = f"{wording.fault_act(record)} at {formats.duration(record.at_seconds)}"
    yield Text(act, style="magenta" if record.effect is not None else "yellow")
    yield Flow(wording.fault_proof(record, final=True), indent=2)
