"""The results of a run as a file: one row a parameter, in parameter order, missing ones included.

CSV and Parquet: parameters that are all dicts give a column for each name, others one column
``parameter``; values likewise, else one column ``value``. Where a value's column would be named
as a parameter's, it is ``result.NAME``. Rows that lack a name, and a value None among dicts, have
empty cells there. CSV has
lists and dicts as JSON. A Parquet column is int64, double, bool or string when all its values
are that, and JSON text when they are mixed.

JSON lines: ``{"parameter": …, "value": …}`` a line.

A parameter without a value (it failed, is lost or not computed yet) has its row all the same: with empty
value cells, in JSON lines without ``value``. Where there is such a row, each row has two more columns:
``error``, in one line, and ``attempts``.

NaN and infinity are ``nan``, ``inf`` and ``-inf`` in CSV, numbers in Parquet, and in JSON the texts
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ttgctl.core.account.failures import failures
from ttgctl.core.account.ledger import ChunkValues, Ledger
from ttgctl.core.account.out_file import OutFileError, check_writable, whole_file
from ttgctl.core.account.stored_values import decode_values, json_value
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
# Why there is neither a value nor an error of the function's own.
NO_VALUE: Final = "no value (lost, or not computed yet)"


class Row(NamedTuple):
    """A parameter and its value, or :data:`MISSING` and why; ``seconds`` is 0 where it was too short to
    tell."""

    parameter: Any
    value: Any = MISSING
    error: str | None = None
    attempts: int | None = None
    seconds: float = 0.0


# Called once or twice: columns can only be known when all rows were seen. Gives the same each time.
Rows = Callable[[], Iterable[Row]]


def check_out_path(path: Path) -> None:
    """Raises :class:`OutFileError` for a path that :func:`write_results` could not write to."""
    if path.suffix.lower() not in _WRITERS:
        raise OutFileError(f"{path}: expected a file with one of the endings {', '.join(_WRITERS)}")
    check_writable(path)
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutFileError(
            f"{path}: Parquet needs pyarrow; take .csv or .jsonl, or run: pip install 'ttgctl[parquet]'"
        )


def check_not_input(path: Path, *inputs: Path) -> None:
    """Raises :class:`OutFileError` where the results would take the place of what the run reads."""
    for each in inputs:
        if path.exists() and each.is_file() and path.samefile(each):
            raise OutFileError(f"--out {path} is what the run reads; name another file")


def write_results(path: Path, rows: Rows) -> None:
    """Writes all rows in the format of the path's ending.

    Raises :class:`OutFileError`, and then an older file is as it was.
    """
    check_out_path(path)
    with whole_file(path) as part:
        _WRITERS[path.suffix.lower()](part, rows)


# A dict whose keys are data and not names would otherwise become a table without end.
_COLUMNS_MOST: Final = 500
_PARQUET_ROWS: Final = 20_000
_EXACT_IN_DOUBLE: Final = 2**53
_EXACT_IN_INT64: Final = 2**63


class _Column(NamedTuple):
    """``key`` is None where the whole parameter or value is the cell."""

    name: str
    key: str | None
    kinds: set[str]


class _Half:
    """The columns of the parameters, or those of the values."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dicts = True
        self._keys: dict[str, set[str]] = {}
        self._whole: set[str] = set()

    def look_at(self, item: Any) -> None:
        if item is MISSING:
            return
        self._whole.add(_kind(item))
        if item is None or not self._dicts:
            return
        if not isinstance(item, dict) or not item:
            self._dicts = False
            return
        for key, cell in item.items():
            self._keys.setdefault(key, set()).add(_kind(cell))
        self._dicts = len(self._keys) <= _COLUMNS_MOST

    def columns(self, *, taken: Iterable[str] = ()) -> list[_Column]:
        if not self._dicts or not self._keys:
            return [_Column(_free(self._name, taken), None, self._whole)]
        names: list[str] = list(taken)
        columns = []
        for key, kinds in self._keys.items():
            columns.append(_Column(_free(key, names), key, kinds))
            names.append(columns[-1].name)
        return columns


class _Table:
    """The columns that all rows together need, and each row's cells in them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        parameters, values = _Half("parameter"), _Half("value")
        self._has_errors = False
        for row in rows:
            parameters.look_at(row.parameter)
            values.look_at(row.value)
            self._has_errors = self._has_errors or row.error is not None
        self._parameters = parameters.columns()
        self._values = values.columns(taken=[column.name for column in self._parameters])
        self.columns = self._parameters + self._values
        if self._has_errors:
            taken = [column.name for column in self.columns]
            for name, kind in (("error", "text"), ("attempts", "int")):
                self.columns.append(_Column(_free(name, taken), None, {kind}))

    def cells(self, row: Row) -> list[Any]:
        """None where there is nothing."""
        cells = [_cell(row.parameter, column) for column in self._parameters]
        cells += [_cell(row.value, column) for column in self._values]
        return [*cells, row.error, row.attempts] if self._has_errors else cells


def _cell(item: Any, column: _Column) -> Any:
    if item is MISSING or item is None:
        return None
    return item if column.key is None else item.get(column.key)


def _free(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name = f"result.{name}"
    return name


def _kind(cell: Any) -> str:
    if isinstance(cell, bool):
        return "bool"
    if isinstance(cell, int):
        if abs(cell) <= _EXACT_IN_DOUBLE:
            return "int"
        return "int64" if -_EXACT_IN_INT64 <= cell < _EXACT_IN_INT64 else "json"
    if isinstance(cell, float):
        return "double"
    if isinstance(cell, str):
        return "text"
    return "nothing" if cell is None else "json"


def _json(value: Any) -> str:
    return msgspec.json.encode(json_value(value)).decode()


def _write_csv(path: Path, rows: Rows) -> None:
    table = _Table(rows())
    with path.open("w", encoding="utf-8", newline="") as file:
        plain = csv.writer(file, lineterminator="\n")
        # Before Python 3.13 a carriage return is not quoted by itself, and every reader ends a row there.
        quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write(cells: list[str]) -> None:
            (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)

        write([column.name for column in table.columns])
        for row in rows():
            write([_csv_cell(cell) for cell in table.cells(row)])


def _csv_cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and not math.isfinite(cell):
        return repr(cell)
    return cell if isinstance(cell, str) else _json(cell)


def _write_json_lines(path: Path, rows: Rows) -> None:
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for row in rows():
            line = {"parameter": json_value(row.parameter)}
            if row.value is not MISSING:
                line["value"] = json_value(row.value)
            if row.error is not None:
                line |= {"error": row.error, "attempts": row.attempts}
            file.write(encode(line) + b"\n")


def _write_parquet(path: Path, rows: Rows) -> None:
    import pyarrow
    import pyarrow.parquet

    table = _Table(rows())
    types = [_parquet_type(column.kinds) for column in table.columns]
    schema = pyarrow.schema(
        [
            (column.name, pyarrow.string() if name == "json" else getattr(pyarrow, name)())
            for column, name in zip(table.columns, types, strict=True)
        ]
    )
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for batch in _batches(rows()):
            cells = zip(*map(table.cells, batch), strict=True)
            arrays = [
                pyarrow.array([_parquet_cell(cell, name) for cell in column], type=field.type)
                for column, name, field in zip(cells, types, schema, strict=True)
            ]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _PARQUET_ROWS)):
        yield batch


def _parquet_type(kinds: set[str]) -> str:
    """The pyarrow type that holds all of these exactly, ``json`` where only JSON text does."""
    kinds = kinds - {"nothing"}
    for name, fitting in (
        ("string", {"text"}),
        ("bool_", {"bool"}),
        ("int64", {"int", "int64"}),
        ("float64", {"int", "double"}),
    ):
        if kinds <= fitting:
            return name
    return "json"


def _parquet_cell(cell: Any, name: str) -> Any:
    if cell is None:
        return None
    if name == "json":
        return _json(cell)
    return float(cell) if name == "float64" else cell


_WRITERS: Final[dict[str, Callable[[Path, Rows], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
    ".parquet": _write_parquet,
}


def rows(spec: RunSpec, ledger: Ledger, source: ParameterSource) -> Iterator[Row]:
    """One row a parameter, in order."""
    errors = {
        index: (failure.error.summary, failure.attempts)
        for failure in failures(ledger, spec)
        for index in failure.indices
    }
    for chunk in ledger.chunks():
        indices = spec.chunk_range(chunk.chunk_id)
        values = dict(zip(chunk.offsets, _told(chunk), strict=True))
        for offset, (index, parameter) in enumerate(zip(indices, source.values(indices), strict=True)):
            found = values.get(offset)
            if found is not None:
                yield Row(parameter, *found)
            else:
                error, attempts = errors.get(index, (NO_VALUE, None))
                yield Row(parameter, MISSING, error, attempts)


def _told(chunk: ChunkValues) -> Iterator[tuple[Any, None, int, float]]:
    decoded = [] if chunk.values is None else decode_values(chunk.values)
    for value, attempts, seconds in zip(decoded, chunk.attempts, chunk.seconds, strict=True):
        yield value, None, attempts, seconds
