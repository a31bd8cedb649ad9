"""Lines of status for a person, on stderr: data alone goes to stdout."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201
