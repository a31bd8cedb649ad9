"""A finished run's values beside its parameters, for the results file."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ttgctl.core.ledger import Ledger
from ttgctl.core.parameters import ParameterSource
from ttgctl.core.results_file import MISSING, Row
from ttgctl.domain.run import RunSpec


def rows(spec: RunSpec, ledger: Ledger, source: ParameterSource) -> Iterator[Row]:
    """One row a parameter, in order; those of chunks without a result have no value."""
    for chunk_id, values in ledger.values():
        parameters = source.values(spec.chunk_range(chunk_id))
        decoded = [MISSING] * len(parameters) if values is None else msgspec.json.decode(values)
        for parameter, value in zip(parameters, decoded, strict=True):
            yield Row(parameter, value)
