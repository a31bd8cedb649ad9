"""Dead letters as a table, one by one in full, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from ttg_worker.wire import Chunk, ParameterError
from ttgctl.core.account.dead_letters import Entry
from ttgctl.core.account.ledger import DEAD
from ttgctl.ui.text import formats
from ttgctl.ui.text.fitted_table import Column, FittedTable
from ttgctl.ui.text.json_text import json_text

_PARAMETERS_MOST: Final = 500
_PARAMETERS_NAMED: Final = 20


def dead_letters_table(found: Sequence[Entry], *, now: float) -> RenderableType:
    """A line a letter, in the order given; ``now`` in Unix seconds, for their ages."""
    if not found:
        return Text("no dead letters")
    columns = (
        Column(title="NO", right=True),
        Column(title="CHUNK", right=True),
        Column(title="CAUSE", drop=1),
        Column(title="ATTEMPT", right=True, drop=4),
        Column(title="WORKER", drop=5),
        Column(title="AGE", right=True, drop=3),
        Column(title="STATE"),
        Column(title="REASON", cut=True, least=24),
    )
    rows: list[list[str | Text]] = [
        [
            str(entry.number),
            "-" if entry.chunk_id is None else str(entry.chunk_id),
            entry.letter.message.cause,
            str(entry.letter.message.attempt),
            entry.letter.message.worker_id or "-",
            formats.age(now - entry.letter.message.at),
            _state(entry),
            _reason(entry),
        ]
        for entry in found
    ]
    return FittedTable(columns, rows)


def dead_letter_page(entry: Entry, *, now: float) -> RenderableType:
    """All that is known of one letter: where it came from, every attempt, the whole traceback."""
    letter = entry.letter.message
    chunk = letter.chunk
    title = "no chunk" if chunk is None else f"chunk {chunk.chunk_id}, {_parameters(chunk)}"
    lines: list[Text] = [
        Text(f"dead letter {entry.number}: {title}", style="bold"),
        Text("state    ").append_text(_state(entry)),
        Text(f"cause    {letter.cause}"),
        Text(f"attempt  {letter.attempt}, {letter.worker_id or 'no worker'}"),
        Text(f"at       {_utc(letter.at)} UTC, {formats.age(now - letter.at)} ago"),
    ]
    given = {} if chunk is None else _given(chunk)
    if chunk is not None and not letter.errors and given:
        lines.append(Text(f"given    {_cut(', '.join(given.values()))}"))
    for failure in () if chunk is None else chunk.history:
        lines.append(Text(f"before   attempt {failure.attempt}, {failure.worker_id}, {_utc(failure.at)}:"))
        lines += _block(failure.reason)
    if chunk is None or not letter.errors:
        lines.append(Text("reason"))
        lines += _block(letter.detail)
    if chunk is not None:
        for error in letter.errors:
            lines += _error(error, chunk, given)
    if letter.body:
        lines.append(Text("body"))
        lines += _block(letter.body)
    return Group(*lines)


def _parameters(chunk: Chunk) -> str:
    if not chunk.offsets:
        return f"parameters {chunk.start}-{chunk.stop - 1}"
    if len(chunk.offsets) == 1:
        return f"parameter {chunk.indices[0]}"
    return f"parameters {formats.ids(tuple(chunk.indices), most=_PARAMETERS_NAMED)}"


def _given(chunk: Chunk) -> dict[int, str]:
    """The values of a chunk's parameters by offset, as JSON; none where they are the indices."""
    if not bytes(chunk.parameters):
        return {}
    values = msgspec.json.decode(chunk.parameters, type=list[msgspec.Raw])
    offsets = chunk.offsets or range(len(values))
    texts = [formats.one_line(bytes(value).decode("utf-8", "replace")) for value in values]
    return dict(zip(offsets, texts, strict=True))


def _error(error: ParameterError, chunk: Chunk, given: dict[int, str]) -> list[Text]:
    """Which parameters failed so, with their values, and why."""
    lines = []
    for offset in error.offsets[:_PARAMETERS_NAMED]:
        value = f": {_cut(given[offset])}" if offset in given else ""
        lines.append(Text(f"failed   parameter {chunk.start + offset}{value}"))
    more = len(error.offsets) - _PARAMETERS_NAMED
    if more > 0:
        lines.append(Text(f"         and {more:,} more"))
    return [*lines, Text("reason"), *_block(error.text)]


def _cut(text: str) -> str:
    return text if len(text) <= _PARAMETERS_MOST else f"{text[:_PARAMETERS_MOST]}…"


def dead_letters_json(found: Sequence[Entry]) -> bytes:
    """One JSON array and a newline."""
    return json_text([_plain(entry) for entry in found])


def _plain(entry: Entry) -> dict[str, Any]:
    letter = entry.letter.message
    chunk = letter.chunk
    return {
        "number": entry.number,
        "state": entry.state,
        "has_result": entry.has_result,
        "chunk_id": entry.chunk_id,
        "start": None if chunk is None else chunk.start,
        "stop": None if chunk is None else chunk.stop,
        "cause": letter.cause,
        "reason": letter.detail,
        "errors": [] if chunk is None else [_plain_error(error, chunk) for error in letter.errors],
        "attempt": letter.attempt,
        "worker_id": letter.worker_id,
        "at": letter.at,
        "history": () if chunk is None else chunk.history,
        "body": letter.body,
    }


def _plain_error(error: ParameterError, chunk: Chunk) -> dict[str, Any]:
    return {
        "parameters": [chunk.start + offset for offset in error.offsets],
        "kind": error.kind,
        "text": error.text,
    }


def _state(entry: Entry) -> Text:
    if entry.has_result:
        return Text(f"{entry.state}, has a result", style="green")
    return Text(entry.state, style="bold red" if entry.state == DEAD else "")


def _reason(entry: Entry) -> str:
    """The last line, where a traceback says what was raised."""
    lines = entry.letter.message.detail.strip().splitlines()
    return formats.one_line(lines[-1]) if lines else ""


def _block(text: str) -> list[Text]:
    # Line by line: what a workload wrote must not move the cursor.
    return [
        Text("  " + "".join(c if c.isprintable() else " " for c in line))
        for line in text.strip().splitlines()
    ]


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%d %H:%M:%S}"
