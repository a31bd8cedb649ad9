"""Quantities with units, as users write them."""

from __future__ import annotations

import re
from typing import Final

import typer

from ttg_worker.limits import parse_timeout

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS_OF_1024: Final = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]{0,2}?)b?", re.IGNORECASE)


def parameter_timeout(text: str) -> str:
    """``30s``, ``5m`` or ``10x``, as it was given, empty for none; one line for anything else."""
    try:
        if text:
            parse_timeout(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text.strip()


def memory_bytes(text: str | int) -> int:
    """Bytes of ``2Gi`` (of 1024), ``2G`` (of 1000) and the like, as Kubernetes writes them."""
    match = _SIZE.fullmatch(str(text).strip())
    unit = (_UNITS | _UNITS_OF_1024).get(match[2].lower()) if match else None
    if match is None or unit is None or (number := int(float(match[1]) * unit)) < 0:
        raise typer.BadParameter(f"{text!r}: expected a size such as 500Mi or 2Gi")
    return number
