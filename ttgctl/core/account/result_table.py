"""The columns of a table of results, from the parameters and values that there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from ttgctl.core.account.result_rows import MISSING, Row

# A dict whose keys are data and not names would otherwise become a table without end.
_COLUMNS_MOST: Final = 500
_EXACT_IN_DOUBLE: Final = 2**53
_EXACT_IN_INT64: Final = 2**63
# Columns of the row itself: their names, their fields and the kinds of their cells.
_EXTRA: Final = (
    ("error", "error", "text"),
    ("attempts", "attempts", "int"),
    ("seconds", "seconds", "double"),
    ("index", "parameter_index", "int"),
)


# Among wanted columns, all those that there are by themselves.
ALL: Final = "*"


class UnknownColumn(Exception):
    """A column was asked for that the results do not have; says which there are."""


class Column(NamedTuple):
    """Of the parameter, of the value, or of the row itself; ``key`` is None where the whole parameter or
    value is the cell. ``kinds`` are those of its cells."""

    half: Literal["parameter", "value", "row"]
    key: str | None
    name: str
    kinds: set[str]


class _Half:
    """The columns of the parameters, or those of the values."""

    def __init__(self, name: Literal["parameter", "value"]) -> None:
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

    def columns(self, *, taken: Iterable[str] = ()) -> list[Column]:
        if not self._dicts or not self._keys:
            return [Column(self._name, None, _free(self._name, taken), self._whole)]
        names: list[str] = list(taken)
        columns = []
        for key, kinds in self._keys.items():
            columns.append(Column(self._name, key, _free(key, names), kinds))
            names.append(columns[-1].name)
        return columns


class ResultTable:
    """The columns that all rows together need, or those ``wanted``, and each row's cells in them.

    ``error`` and ``attempts`` are there where a row has an error or they are wanted; ``seconds`` and
    ``index`` where they are wanted. Raises :class:`UnknownColumn` for a column that there is not.
    """

    def __init__(self, rows: Iterable[Row], wanted: Sequence[str] = ()) -> None:
        parameters, values = _Half("parameter"), _Half("value")
        has_errors = False
        for row in rows:
            parameters.look_at(row.parameter)
            values.look_at(row.value)
            has_errors = has_errors or row.error is not None
        columns = parameters.columns()
        columns += values.columns(taken=[column.name for column in columns])
        taken = [column.name for column in columns]
        extra = [Column("row", field, _free(name, taken), {kind}) for name, field, kind in _EXTRA]
        self.columns = columns + (extra[:2] if has_errors else [])
        if wanted:
            by_name = {column.name: column for column in columns + extra}
            unknown = [name for name in wanted if name not in by_name and name != ALL]
            if unknown:
                raise UnknownColumn(f"no column {', '.join(unknown)}; there are {', '.join(by_name)}")
            named = [by_name[name] for name in wanted if name != ALL]
            at = list(wanted).index(ALL) if ALL in wanted else len(named)
            others = [column for column in self.columns if column not in named] if ALL in wanted else []
            self.columns = named[:at] + others + named[at:]

    def cells(self, row: Row) -> list[Any]:
        """None where there is nothing."""
        return [_cell(row, column) for column in self.columns]


def _cell(row: Row, column: Column) -> Any:
    if column.half == "row":
        return getattr(row, column.key or "")
    item = row.parameter if column.half == "parameter" else row.value
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
