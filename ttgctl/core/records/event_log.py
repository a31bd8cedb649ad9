"""A run's events as lines of JSON: how they are written, read back and followed while they grow.

One event a line, with its ``type`` first. Readers skip the types and keys that they do not know,
so that an older ttgctl can watch a newer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from ttg_worker.torn_line import end_of_whole_lines
from ttgctl.domain.events import (
    Fault,
    Finished,
    Interrupted,
    Notice,
    Phase,
    Progress,
    RunEvent,
    Started,
)

_TYPES: Final[dict[str, type[RunEvent]]] = {
    "started": Started,
    "phase": Phase,
    "notice": Notice,
    "progress": Progress,
    "fault": Fault,
    "finished": Finished,
    "interrupted": Interrupted,
}
_NAMES: Final = {event_type: name for name, event_type in _TYPES.items()}


class _Header(msgspec.Struct):
    type: str


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(_Header)
_decoders: Final = {name: msgspec.json.Decoder(event_type) for name, event_type in _TYPES.items()}


class BadEvent(ValueError):
    """A line that is no event of a run."""


class UnknownEvent(BadEvent):
    """An event of a type that this version does not know."""


def encode_event(event: RunEvent) -> bytes:
    """The event as one line of JSON without its newline."""
    return b'{"type":"%s",%s' % (_NAMES[type(event)].encode(), _encoder.encode(event)[1:])


def decode_event(line: bytes) -> RunEvent:
    """The event of one line; :class:`UnknownEvent` or another :class:`BadEvent` if it is none."""
    try:
        name = _header_decoder.decode(line).type
        if name not in _decoders:
            raise UnknownEvent(f"an event of unknown type {name!r}")
        event: RunEvent = _decode(name, line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadEvent(f"not an event: {error}") from error
    return event


def _decode(name: str, line: bytes) -> RunEvent:
    try:
        event: RunEvent = _decoders[name].decode(line)
    except msgspec.ValidationError:
        document = msgspec.json.decode(line)
        verdict = document.get("verdict") if isinstance(document, dict) else None
        if not isinstance(verdict, dict) or not isinstance(verdict.get("parameters"), int):
            raise
        # Schema 1 had the number of parameters with values alone.
        ok = verdict["parameters"]
        verdict["parameters"] = {"total": ok, "ok": ok, "failed": 0, "lost": 0}
        event = _decoders[name].decode(msgspec.json.encode(document | {"verdict": verdict | {"schema": 1}}))
    return event


class EventLog:
    """Appends to an ``events.ndjson``; every event is in the file when :meth:`append` returns.

    A last line that a killed writer left unfinished is cut off first. One writer at a time: the
    run's lock sees to that.
    """

    def __init__(self, path: Path) -> None:
        _cut_torn_line(path)
        self._file = path.open("ab")

    def append(self, event: RunEvent) -> None:
        self._file.write(encode_event(event) + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_events(path: Path) -> Iterator[RunEvent]:
    """All events that are whole in the file now; none when there is no file.

    Raises :class:`BadEvent` with file and line for a line that is broken.
    """
    for event in follow(path, stop=lambda: True):
        if event is not None:
            yield event


def follow(path: Path, *, stop: Callable[[], bool], poll_seconds: float = 0.1) -> Iterator[RunEvent | None]:
    """All events from the file's start and then as they come, with None whenever there is no more.

    After each None it ends if ``stop()``, else waits ``poll_seconds``. The file may not be there
    yet. Raises :class:`BadEvent` as :func:`read_events` does.
    """
    position = 0
    number = 0
    while True:
        for line in _whole_lines(path, position):
            position += len(line)
            number += 1
            try:
                yield decode_event(line)
            except UnknownEvent:
                continue
            except BadEvent as error:
                raise BadEvent(f"{path}, line {number}: {error}") from error
        yield None
        if stop():
            return
        time.sleep(poll_seconds)


def _whole_lines(path: Path, position: int) -> Iterator[bytes]:
    """Lines with their newline. The start of one still being written is left for the next time."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(end_of_whole_lines(file.fileno()))


def last_events(path: Path, *, tail_bytes: int = 131_072) -> list[RunEvent]:
    """The events in the last part of the file, oldest first; broken and unknown lines are skipped."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail_bytes))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    # What comes first may be half a line, what comes last is one still being written or empty.
    whole = lines[:-1] if size <= tail_bytes else lines[1:-1]
    events = []
    for line in whole:
        try:
            events.append(decode_event(line))
        except BadEvent:
            continue
    return events
