"""A table without lines that fits its width: columns that matter less go first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
_BETWEEN: Final = " · "


@dataclass(frozen=True, kw_only=True)
class Column:
    """``drop`` 0 always stays; of the others the highest goes first when room is short.

    ``cut`` shortens a cell that is still too long with an ellipsis, else it goes on below; for ``least``
    cells of it no other column goes.
    """

    title: str
    drop: int = 0
    right: bool = False
    cut: bool = False
    least: int = 0


class FittedTable:
    """Renders rows in at most the width there is. A column with nothing in it is left out."""

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
        self._columns = columns
        self._rows = [[c if isinstance(c, Text) else Text(c) for c in row] for row in rows]
        self._widths = [
            max([cell_len(column.title), *(_width(row[index]) for row in self._rows)])
            for index, column in enumerate(columns)
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        kept = self._kept(options.max_width)
        table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
        for index in kept:
            column = self._columns[index]
            table.add_column(
                Text(column.title),
                justify="right" if column.right else "left",
                no_wrap=column.cut,
                overflow="ellipsis" if column.cut else "fold",
            )
        for row in self._rows:
            table.add_row(*(row[index] for index in kept))
        yield table

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        kept = self._kept(options.max_width)
        natural = min(options.max_width, self._natural(kept))
        return Measurement(natural, natural)

    def _natural(self, kept: list[int]) -> int:
        return sum(self._widths[index] + _GAP for index in kept) - _GAP

    def _least(self, kept: list[int]) -> int:
        """The same where each column that may be cut is as short as still says something."""
        return (
            sum(min(self._widths[i], self._columns[i].least or self._widths[i]) + _GAP for i in kept) - _GAP
        )

    def _kept(self, width: int) -> list[int]:
        kept = [
            index
            for index, column in enumerate(self._columns)
            if not (column.drop and self._rows and all(not row[index].plain for row in self._rows))
        ]
        while self._least(kept) > width:
            droppable = [index for index in kept if self._columns[index].drop]
            if not droppable:
                break
            kept.remove(max(droppable, key=lambda index: (self._columns[index].drop, index)))
        return kept


def _width(cell: Text) -> int:
    return max((cell_len(line) for line in cell.plain.splitlines()), default=0)


class Flow:
    """Short phrases one after another, broken only between them where the line is full."""

    def __init__(self, phrases: Sequence[str | Text], *, indent: int = 0) -> None:
        self._phrases = [p if isinstance(p, Text) else Text(p) for p in phrases if p]
        self._margin = " " * indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(self._margin)
        for phrase in self._phrases:
            empty = line.cell_len == len(self._margin)
            if not empty and line.cell_len + len(_BETWEEN) + phrase.cell_len > options.max_width:
                yield line
                line, empty = Text(self._margin), True
            if not empty:
                line.append(_BETWEEN, style="dim")
            line.append_text(phrase)
        yield line
