"""What is wrong with a grid, and the checks that all its parts share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

INTEGER_MOST: Final = 2**63


class GridError(ValueError):
    """A grid that can't be read as one; names the axis, its value and what is accepted."""


def whole(place: str, value: object, *, least: int) -> int:
    """A whole number, or :class:`GridError`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < INTEGER_MOST:
        raise GridError(f"{place}: {shown(value)}: expected a whole number of {least} or more")
    return value


def check_value(place: str, value: object) -> None:
    """Values travel as JSON, which knows no dates, NaN, or keys that are no text."""
    if isinstance(value, list):
        for item in value:
            check_value(place, item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise GridError(f"{place}: the key {shown(key)} is not a text; put it in quotes")
            check_value(place, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise GridError(f"{place}: {value}: expected a finite number")
    elif isinstance(value, int) and abs(value) >= INTEGER_MOST:
        raise GridError(f"{place}: {shown(value)}: expected a whole number of 64 bits at the most")
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise GridError(f"{place}: {shown(value)}: expected a number, text, true, false or null")


def shown(value: object) -> str:
    """The value for a message, with an end even where it is long."""
    if isinstance(value, int) and abs(value) >= INTEGER_MOST:
        return hex(value)[:20] + "…"  # Longer ones can't be written in decimal at all.
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else text[:57] + "…"
