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
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from ttgctl.core.account.out_file import OutFileError, check_writable, whole_file
from ttgctl.core.account.result_rows import MISSING, Row, Rows
from ttgctl.core.account.result_table import ResultTable, UnknownColumn
from ttgctl.core.account.stored_values import json_value

_PARQUET_ROWS: Final = 20_000


def check_out_path(path: Path, *, overwrite: bool = True) -> None:
    """Raises :class:`OutFileError` for a path that :func:`write_results` could not write to, or where a file
    is that it must not replace."""
    if path.suffix.lower() not in _WRITERS:
        raise OutFileError(f"{path}: expected a file with one of the endings {', '.join(_WRITERS)}")
    check_writable(path)
    if not overwrite and path.exists():
        raise OutFileError(f"{path} is there already; name another file, or replace it with --overwrite")
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise OutFileError(
            f"{path}: Parquet needs pyarrow; take .csv or .jsonl, or run: pip install 'ttgctl[parquet]'"
        )


def check_not_input(path: Path, *inputs: Path) -> None:
    """Raises :class:`OutFileError` where the results would take the place of what the run reads."""
    for each in inputs:
        if path.exists() and each.is_file() and path.samefile(each):
            raise OutFileError(f"--out {path} is what the run reads; name another file")


def write_results(path: Path, rows: Rows, *, columns: Sequence[str] = (), partial: bool = False) -> Path:
    """Writes all rows, with all columns that they need or those named, in the format of the path's ending.

    ``partial`` results go to ``PATH.partial``; whole ones take its place. Returns where they are. Raises
    :class:`OutFileError`, and then an older file is as it was.
    """
    check_out_path(path)
    beside = path.with_name(f"{path.name}.partial")
    target = beside if partial else path
    with whole_file(target) as part, part.open("wb") as file:
        _checked(_WRITERS[path.suffix.lower()], file, rows, columns)
    if not partial:
        beside.unlink(missing_ok=True)
    return target


def write_rows(file: IO[bytes], ending: str, rows: Rows, *, columns: Sequence[str] = ()) -> None:
    """The same to an open file, in the format of an ending such as ``.csv``."""
    _checked(_WRITERS[ending], file, rows, columns)


def _checked(
    write: Callable[[IO[bytes], Rows, Sequence[str]], None],
    file: IO[bytes],
    rows: Rows,
    columns: Sequence[str],
) -> None:
    try:
        write(file, rows, columns)
    except UnknownColumn as error:
        raise OutFileError(str(error)) from None


def _json(value: Any) -> str:
    return msgspec.json.encode(json_value(value)).decode()


def _write_csv(file: IO[bytes], rows: Rows, columns: Sequence[str]) -> None:
    table = ResultTable(rows(), columns)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    plain = csv.writer(text, lineterminator="\n")
    # Before Python 3.13 a carriage return is not quoted by itself, and every reader ends a row there.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(cells: list[str]) -> None:
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)

    write([column.name for column in table.columns])
    for row in rows():
        write([_csv_cell(cell) for cell in table.cells(row)])
    # The file is the caller's to close.
    text.detach()


def _csv_cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and not math.isfinite(cell):
        return repr(cell)
    return cell if isinstance(cell, str) else _json(cell)


def _write_json_lines(file: IO[bytes], rows: Rows, columns: Sequence[str]) -> None:
    encode = msgspec.json.Encoder().encode
    table = ResultTable(rows(), columns) if columns else None
    for row in rows():
        if table is not None:
            line = dict(zip(columns, map(json_value, table.cells(row)), strict=True))
        else:
            line = {"parameter": json_value(row.parameter)}
            if row.value is not MISSING:
                line["value"] = json_value(row.value)
            if row.error is not None:
                line |= {"error": row.error, "attempts": row.attempts}
        file.write(encode(line) + b"\n")


def _write_parquet(file: IO[bytes], rows: Rows, columns: Sequence[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    table = ResultTable(rows(), columns)
    types = [_parquet_type(column.kinds) for column in table.columns]
    schema = pyarrow.schema(
        [
            (column.name, pyarrow.string() if name == "json" else getattr(pyarrow, name)())
            for column, name in zip(table.columns, types, strict=True)
        ]
    )
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
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


_WRITERS: Final[dict[str, Callable[[IO[bytes], Rows, Sequence[str]], None]]] = {
    ".csv": _write_csv,
    ".jsonl": _write_json_lines,
    ".ndjson": _write_json_lines,
    ".parquet": _write_parquet,
}
