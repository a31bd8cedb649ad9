"""A file that the user asked for: there as a whole, or as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutFileError(Exception):
    """A file can't be written where it shall go; says where, why and, if known, what to do."""


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
