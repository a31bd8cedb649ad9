"""A file that the user asked for: there as a whole, or as it was before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutFileError(Exception):
    """A file can't be written where it shall go; says where, why and, if known, what to do."""


def check_writable(path: Path) -> None:
    """Raises :class:`OutFileError` for a folder, or a file in one that is not there or is read-only.

    Meant for before the work whose outcome goes there: it would be a pity after it.
    """
    if path.is_dir():
        raise OutFileError(f"{path} is a folder; name a file in it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutFileError(f"{path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutFileError(f"{path}: no permission to write in {folder}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The path to write to, ``.part`` beside ``path``, whose place it takes at the end.

    Raises :class:`OutFileError` for whatever the system has against it. After any error there is
    no ``.part``, and ``path`` is as it was.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutFileError(f"{path}: {error.strerror or error}") from error
