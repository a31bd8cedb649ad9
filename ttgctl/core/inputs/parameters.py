"""Where a sweep's parameters come from: indices, a YAML grid, a CSV, JSON-lines, Parquet or Arrow file.

CSV: the first row has the names; each further row is a parameter, a dict by name. A cell that is
a number as a whole becomes one (``7``, ``-1.5``), everything else is text, an empty cell empty text.
So that codes survive, ``007`` and ``+491234567`` are no numbers, and what would not print back as it
is written (``1.10``, ``2e-3``, ``1E5``) is one only in a column of nothing but numbers. Quoted cells
may hold commas, quotes and line breaks. Empty lines between rows are skipped.

JSON lines: each line is a parameter, any JSON value. Empty lines are skipped.

Text files are UTF-8. None is held in memory: 8 bytes a parameter say where it begins.
"""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from ttgctl.core.inputs.columnar_file import ColumnarParameters
from ttgctl.core.inputs.parameter_error import ParameterError
from ttgctl.core.inputs.yaml_document import YamlError, read_yaml
from ttgctl.domain.grid.errors import GridError
from ttgctl.domain.grid.grid import read_grid
from ttgctl.domain.grid.points import Points


class ParameterSource(Protocol):
    """The parameters of a sweep, the same ones at every reading."""

    total: int

    def values(self, indices: range) -> list[Any]:
        """The parameters at these indices (step 1, all below ``total``), fit for JSON.

        Raises :class:`ParameterError` when the file is no longer what it was.
        """


def open_parameters(path: Path | None, *, total: int | None = None) -> ParameterSource:
    """The source for a parameter file, which is read through and checked, or for none.

    With ``total`` the file must give so many. Without a file the parameters are the indices
    below ``total``, which must be given then.
    """
    if path is None:
        if total is None:
            raise ParameterError("without a parameter file the number of parameters must be given")
        return IndexParameters(total)
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise ParameterError(f"{path}: expected a file with one of the endings {', '.join(_KINDS)}")
    try:
        source = kind(path)
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror or error}") from error
    if total is not None and source.total != total:
        raise ParameterError(f"{path} gives {source.total:,} parameters, expected were {total:,}")
    return source


class IndexParameters:
    """The parameters are the indices themselves; nothing but their range needs to travel."""

    def __init__(self, total: int) -> None:
        self.total = total

    def values(self, indices: range) -> list[Any]:
        return list(indices)


class GridParameters:
    """The points of the grid that a YAML file describes (see :mod:`ttgctl.domain.grid.grid`)."""

    def __init__(self, path: Path) -> None:
        try:
            self.grid: Points = read_grid(read_yaml(path))
        except (GridError, YamlError) as error:
            raise ParameterError(f"{path}: {error}") from error
        self.total = len(self.grid)

    def values(self, indices: range) -> list[Any]:
        return [self.grid.point(index) for index in indices]


class CsvParameters:
    """The rows of a CSV file, as dicts by the names in its first row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            lines = _Lines(path, file)
            rows = csv.reader(lines, strict=True)
            self._names = self._read_names(rows, lines)
            starts = array("Q", [lines.offset])
            numeric = [True] * len(self._names)
            for row in self._rows(rows, lines):
                if row:
                    for column, cell in enumerate(row):
                        value = _read_cell(cell, f"{path}, line {lines.number}", numeric=True)
                        numeric[column] &= not isinstance(value, str) or not cell.strip()
                    # The next row begins where the reader, which takes no line too many, stands.
                    starts.append(lines.offset)
        self._numeric = numeric
        self.total = len(starts) - 1
        self._starts = starts
        if not self.total:
            raise ParameterError(f"{path}: no row below the names; add one for each parameter")

    def values(self, indices: range) -> list[Any]:
        text = _part(self._path, self._starts, indices)
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        except csv.Error as error:
            raise ParameterError(f"{self._path} is no longer what it was: {error}") from error
        if len(rows) != len(indices) or any(len(row) != len(self._names) for row in rows):
            raise ParameterError(f"{self._path} is no longer what it was")
        place = str(self._path)
        return [
            {
                name: _read_cell(cell, place, numeric=numeric)
                for name, cell, numeric in zip(self._names, row, self._numeric, strict=True)
            }
            for row in rows
        ]

    def _read_names(self, rows: Iterator[list[str]], lines: _Lines) -> list[str]:
        try:
            names = [name.strip() for name in next(rows)]
        except StopIteration:
            raise ParameterError(f"{self._path} is empty; its first row must have the names") from None
        except csv.Error as error:
            raise ParameterError(f"{self._path}, line {lines.number}: {error}") from error
        place = f"{self._path}, line 1"
        if not any(names):
            raise ParameterError(f"{place}: empty; the first row must have the names")
        if len(names) == 1 and re.search(r"[;\t]", names[0]):
            raise ParameterError(f"{place}: {names[0]!r}: columns must be separated by commas")
        for position, name in enumerate(names, start=1):
            if not name:
                raise ParameterError(f"{place}: column {position} has no name")
            if names.index(name) != position - 1:
                raise ParameterError(f"{place}: two columns are named {name!r}; rename one")
        return names

    def _rows(self, rows: Iterator[list[str]], lines: _Lines) -> Iterator[list[str]]:
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                raise ParameterError(f"{self._path}, line {lines.number}: {error}") from error
            if row is None:
                return
            if row and len(row) != len(self._names):
                raise ParameterError(
                    f"{self._path}, line {lines.number}: {len(row)} cells, but {len(self._names)} names in "
                    "the first row; quote a cell that has a comma in it"
                )
            yield row


class JsonLinesParameters:
    """The lines of a file, each a JSON value."""

    def __init__(self, path: Path) -> None:
        self._path = path
        starts = array("Q", [0])
        with path.open("rb") as file:
            lines = _Lines(path, file)
            for line in lines:
                if line.strip():
                    _read_json(line, f"{path}, line {lines.number}")
                    starts.append(lines.offset)
        self.total = len(starts) - 1
        self._starts = starts
        if not self.total:
            raise ParameterError(f"{path} is empty; write one JSON value for each parameter, each on a line")

    def values(self, indices: range) -> list[Any]:
        # Not splitlines(): it splits at characters that may stand within a JSON text.
        lines = _part(self._path, self._starts, indices).split("\n")
        values = [_read_json(line, str(self._path)) for line in lines if line.strip()]
        if len(values) != len(indices):
            raise ParameterError(f"{self._path} is no longer what it was")
        return values


_KINDS: Final[dict[str, Callable[[Path], ParameterSource]]] = {
    ".yaml": GridParameters,
    ".yml": GridParameters,
    ".csv": CsvParameters,
    ".jsonl": JsonLinesParameters,
    ".ndjson": JsonLinesParameters,
    ".parquet": ColumnarParameters,
    ".arrow": ColumnarParameters,
    ".feather": ColumnarParameters,
}

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_FLOAT: Final = re.compile(r"-?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][+-]?[0-9]+)?", re.ASCII)
_NO_NUMBER: Final = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)


class _Lines:
    """The lines of a file as text; ``number`` of the last one read, ``offset`` of the next in bytes."""

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self._path = path
        self._file = file
        self.number = 0
        self.offset = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        self.offset += len(line)
        if self.number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return _decoded(line, f"{self._path}, line {self.number}")


def _decoded(text: bytes, place: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise ParameterError(f"{place}: not UTF-8 text ({error.reason}); save the file as UTF-8") from error


def _part(path: Path, starts: array[int], indices: range) -> str:
    """The text of these rows or lines."""
    start, end = starts[indices.start], starts[indices.stop]
    try:
        with path.open("rb") as file:
            file.seek(start)
            part = file.read(end - start)
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror or error}") from error
    if start == 0:
        part = part.removeprefix(_BYTE_ORDER_MARK)
    return _decoded(part, str(path))


def _read_json(line: str, place: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ParameterError(f"{place}: {error}; expected one JSON value on each line") from error


def _read_cell(cell: str, place: str, *, numeric: bool) -> int | float | str:
    """``numeric``: in a column of nothing but numbers."""
    text = cell.strip()
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise ValueError
            if numeric:
                return number
            # As Python prints it, or as it stands in a table of results.
            printed = (str(number), msgspec.json.encode(number).decode())
            return number if text in printed else cell
    except ValueError:
        raise ParameterError(
            f"{place}: {text[:60]} is too large a number; put a letter before it for text"
        ) from None
    if _NO_NUMBER.fullmatch(text):
        raise ParameterError(f"{place}: {text} is no number that a sweep can hold; leave the cell empty")
    return cell
