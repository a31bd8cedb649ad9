"""Values as the compute process encodes them (:mod:`ttg_worker.compute.values`), read back."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

_MARK: Final = b'"$'


def decode_values(array: bytes) -> list[Any]:
    """The values of a JSON array, with NaN and infinity as floats."""
    values = msgspec.json.decode(array, type=list[Any])
    return [_decoded(value) for value in values] if _MARK in array else values


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$float" and inner in ("nan", "inf", "-inf"):
            return float(inner)
        if key == "$dict" and isinstance(inner, dict):
            value = inner
    return {key: _decoded(item) for key, item in value.items()}


def json_value(value: Any) -> Any:
    """The value with texts in place of the numbers that JSON has no word for, the ones of proto3's JSON."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [json_value(item) for item in value]
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    return value
