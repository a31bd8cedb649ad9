"""Lines of status for a person, on stderr: data alone goes to stdout."""

from __future__ import annotations

import sys
from contextlib import suppress


def say(line: str) -> None:
    """What nobody can read any more must not keep a command from doing what it has to do."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr)  # noqa: T201
