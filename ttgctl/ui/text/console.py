"""The one place that makes Rich consoles: data goes to stdout, status to stderr."""

from __future__ import annotations

import io
import os
import sys
from typing import Final, TextIO

from rich.console import Console

# Wide enough that a table in a pipe or file is never cut or wrapped.
_UNBOUNDED: Final = 100_000


def data_console(stream: TextIO | None = None) -> Console:
    """For what the user asked for. Off a terminal nothing is wrapped, cut or coloured."""
    return _console(stream or sys.stdout)


def status_console(stream: TextIO | None = None) -> Console:
    """For how it is going; nothing that a program would read."""
    return _console(stream or sys.stderr)


def _console(stream: TextIO) -> Console:
    if isinstance(stream, io.TextIOWrapper):
        # A locale without UTF-8 shall cost a box character, not the run's verdict.
        stream.reconfigure(errors="replace")
    width = None if stream.isatty() or os.environ.get("COLUMNS") else _UNBOUNDED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)
