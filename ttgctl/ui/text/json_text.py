"""JSON as commands print it, for other programs and for whoever looks at it."""

from __future__ import annotations

import msgspec


def json_text(value: object) -> bytes:
    """Indented, and a newline after it."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
