"""The parameters of a run that is not started yet: how many, and the first and last of them."""

from __future__ import annotations

from typing import Final

import msgspec
from rich.text import Text

from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec

SHOWN: Final = 5


def parameters_preview(spec: RunSpec, source: ParameterSource) -> Text:
    """The counts in a line, and below it parameters as JSON, by their index."""
    total = spec.parameters_total
    chunks = "1 chunk" if spec.chunks_total == 1 else f"{spec.chunks_total:,} chunks"
    parameters = "1 parameter" if total == 1 else f"{total:,} parameters"
    lines = [f"{parameters} in {chunks} of up to {spec.chunk_size:,}"]
    first = range(min(SHOWN, total))
    last = range(max(first.stop, total - SHOWN), total)
    lines += _shown(source, first)
    if last.start > first.stop:
        lines.append("  …")
    lines += _shown(source, last)
    return Text("\n".join(lines))


def _shown(source: ParameterSource, indices: range) -> list[str]:
    values = source.values(indices) if len(indices) else []
    return [
        f"  {index:>10,}  {msgspec.json.encode(value).decode()}"
        for index, value in zip(indices, values, strict=True)
    ]
