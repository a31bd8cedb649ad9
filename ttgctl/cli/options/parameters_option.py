"""Where ``run`` has its parameters from: a file, stdin, or the axes of ``-p``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from ttgctl.domain.run import SpecError

# The names under which they are kept in the run's folder.
STDIN_LINES, STDIN_TABLE, AXES = "stdin.jsonl", "stdin.csv", "parameters.yaml"
_RANGE: Final = re.compile(r"(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.(-?\d{1,18}))?", re.ASCII)
_SCALAR: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|true|false|null", re.ASCII)


@contextmanager
def parameter_file(path: Path | None, axes: Sequence[str]) -> Iterator[Path]:
    """The file with the parameters, which is there for as long as the context is. Raises
    :class:`SpecError`."""
    if (path is None) == (not axes):
        raise SpecError("expected either --parameters FILE, or -p NAME=VALUES once or more")
    if path is not None and path != Path("-"):
        yield path
        return
    with TemporaryDirectory(prefix="ttgctl-") as folder:
        yield _from_stdin(Path(folder)) if path is not None else _from_axes(axes, Path(folder))


def _from_stdin(folder: Path) -> Path:
    """As JSON lines where the first line is JSON, else as CSV."""
    try:
        text = sys.stdin.buffer.read()
    except (AttributeError, OSError) as error:
        raise SpecError(f"--parameters -: stdin can't be read: {error}") from None
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise SpecError("--parameters -: nothing came from stdin; expected CSV or JSON lines")
    try:
        msgspec.json.decode(first)
        file = folder / STDIN_LINES
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        file = folder / STDIN_TABLE
    file.write_bytes(text)
    return file


def _from_axes(axes: Sequence[str], folder: Path) -> Path:
    read: dict[str, Any] = {}
    for text in axes:
        name, equals, values = text.partition("=")
        if not equals or not name or not values:
            raise SpecError(f"-p {text}: expected NAME=VALUES, such as rate=0.1,0.2 or seed=0..99")
        if name in read:
            raise SpecError(f"-p {text}: {name} is there twice; give all its values once")
        read[name] = _values(text, values)
    file = folder / AXES
    # JSON is YAML.
    file.write_bytes(msgspec.json.encode({"parameters": read}))
    return file


def _values(text: str, values: str) -> Any:
    """``0..99`` has both its ends, as a shell's; everything else is a list."""
    if (match := _RANGE.fullmatch(values)) is not None:
        start, stop = int(match[1]), int(match[2])
        step = int(match[3]) if match[3] else (1 if start <= stop else -1)
        if step == 0 or (stop - start) * step < 0:
            raise SpecError(f"-p {text}: the step does not lead from {start} to {stop}")
        return {"range": [start, stop + (1 if step > 0 else -1), step]}
    return [_value(text, value) for value in values.split(",")]


def _value(text: str, value: str) -> Any:
    if not _SCALAR.fullmatch(value):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        raise SpecError(f"-p {text}: {value[:40]} is too large a number") from None
