"""Parquet and Arrow files as parameters: each row is one, a dict by column; a null cell is None."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

from ttgctl.core.inputs.parameter_error import ParameterError


class ColumnarParameters:
    """``.parquet``, and ``.arrow`` or ``.feather`` (Arrow's file format). One stretch of rows is in memory
    at a time. Raises :class:`ParameterError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            import pyarrow
        except ImportError:
            raise ParameterError(f"{path}: needs pyarrow: pip install 'ttgctl[parquet]'") from None
        try:
            schema, sizes, self._read = _opened(path)
            self._ends = list(accumulate(sizes))
            self._newest: tuple[int, Any] = (-1, None)
            self._check_types(schema)
            for number in range(len(sizes)):
                self._check_values(number)
        except pyarrow.ArrowException as error:
            raise ParameterError(f"{path}: {error}") from error
        self.total = self._ends[-1] if self._ends else 0
        if not self.total:
            raise ParameterError(f"{path}: no row; write one for each parameter")

    def values(self, indices: range) -> list[Any]:
        found: list[Any] = []
        while len(found) < len(indices):
            index = indices[len(found)]
            number = bisect_right(self._ends, index)
            first = index - (self._ends[number - 1] if number else 0)
            found += self._stretch(number).slice(first, len(indices) - len(found)).to_pylist()
        return found

    def _stretch(self, number: int) -> Any:
        if self._newest[0] != number:
            self._newest = (number, self._read(number))
        return self._newest[1]

    def _check_types(self, schema: Any) -> None:
        names = schema.names
        for name in names:
            if names.count(name) > 1:
                raise ParameterError(f"{self._path}: two columns are named {name!r}; rename one")
        for field in schema:
            if not _travels(field.type):
                raise ParameterError(
                    f"{self._path}: column {field.name!r} is {field.type}; expected numbers, text, booleans, "
                    "or lists and structs of these"
                )

    def _check_values(self, number: int) -> None:
        import pyarrow.compute as compute

        before = self._ends[number - 1] if number else 0
        table = self._stretch(number)
        for name, column in zip(table.schema.names, table.columns, strict=True):
            if str(column.type) not in ("float", "double", "halffloat"):
                continue
            finite = compute.fill_null(compute.is_finite(column), True)
            if not compute.all(finite).as_py() and len(column):
                row = before + compute.index(finite, False).as_py()
                raise ParameterError(
                    f"{self._path}: row {row}, column {name!r}: {column[row - before].as_py()} is no number "
                    "that a sweep can hold; leave it null"
                )


def _opened(path: Path) -> tuple[Any, list[int], Callable[[int], Any]]:
    """The schema, the rows of each stretch, and what reads one as a table."""
    if path.suffix.lower() == ".parquet":
        from pyarrow import parquet

        file = parquet.ParquetFile(path)
        groups = range(file.metadata.num_row_groups)
        sizes = [file.metadata.row_group(number).num_rows for number in groups]
        return file.schema_arrow, sizes, lambda number: file.read_row_group(number)
    import pyarrow

    batches = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))

    def read(number: int) -> Any:
        return pyarrow.Table.from_batches([batches.get_batch(number)])

    sizes = [batches.get_batch(number).num_rows for number in range(batches.num_record_batches)]
    return batches.schema, sizes, read


def _travels(kind: Any) -> bool:
    """Whether values of that type are values of JSON."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return _travels(kind.value_type)
    if types.is_struct(kind):
        return all(_travels(kind.field(number).type) for number in range(kind.num_fields))
    if types.is_dictionary(kind):
        return _travels(kind.value_type)
    plain = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return any(fits(kind) for fits in (*plain, types.is_string, types.is_large_string))
