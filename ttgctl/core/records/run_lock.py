"""One command at a time works on a run; others may watch."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunIsTaken(Exception):
    """Another command works on this run; names the run."""


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Holds the lock file; the kernel lets go of it when this process ends, however it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            run_id = path.parent.name
            raise RunIsTaken(
                f"run {run_id} is being worked on by another command; watch it with: ttgctl monitor {run_id}"
            ) from None
        yield


def is_taken(path: Path) -> bool:
    """Whether a command works on the run now."""
    try:
        with run_lock(path):
            return False
    except RunIsTaken:
        return True
