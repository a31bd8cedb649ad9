"""Whether a file that a user named can be written, asked before the work that leads to it."""

from __future__ import annotations

import os
from pathlib import Path


class UnwritablePath(ValueError):
    """A file that can't be written where it was asked for; names it, and what is in the way."""


def check_writable(path: Path) -> None:
    """Raises :class:`UnwritablePath` for a folder, or a file in one that is not there or is read-only."""
    if path.is_dir():
        raise UnwritablePath(f"{path} is a folder; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UnwritablePath(f"{path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnwritablePath(f"{path}: no permission to write in {folder}")
