"""The results of a run as rows: one a parameter, in parameter order, missing ones included."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ttgctl.core.account.failures import failures
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.account.ledger_values import ChunkValues
from ttgctl.core.account.stored_values import decode_values
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
    tell, ``parameter_index`` its place in the sweep."""

    parameter: Any
    value: Any = MISSING
    error: str | None = None
    attempts: int | None = None
    seconds: float = 0.0
    parameter_index: int = 0


# Called once or twice: columns can only be known when all rows were seen. Gives the same each time.
Rows = Callable[[], Iterable[Row]]


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
                yield Row(parameter, *found, index)
            else:
                error, attempts = errors.get(index, (NO_VALUE, None))
                yield Row(parameter, MISSING, error, attempts, 0.0, index)


def _told(chunk: ChunkValues) -> Iterator[tuple[Any, None, int, float]]:
    decoded = [] if chunk.values is None else decode_values(chunk.values)
    for value, attempts, seconds in zip(decoded, chunk.attempts, chunk.seconds, strict=True):
        yield value, None, attempts, seconds


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """Some of the rows: those without a value, or so many that took longest, these first; else all."""

    failed: bool = False
    slowest: int = 0

    def of(self, rows: Iterable[Row]) -> Iterable[Row]:
        if self.failed:
            rows = (row for row in rows if row.error is not None)
        if self.slowest:
            # As they came where two took the same.
            return heapq.nlargest(self.slowest, rows, key=lambda row: (row.seconds, -row.parameter_index))
        return rows
