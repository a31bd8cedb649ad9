"""One command at a time works on a run; others may watch."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ttgctl.core.records.run_folder import RunFolder


class RunIsTaken(Exception):
    """Another command works on this run; names the run."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {run_id} is being worked on by another command; watch it with: ttgctl monitor {run_id}"
        )


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Holds the lock file; the kernel lets go of it when this process ends, however it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunIsTaken(path.parent.name) from None
        yield


@contextmanager
def locked_runs(folders: Iterable[RunFolder]) -> Iterator[set[str]]:
    """Holds the locks of all that nobody works on; yields the names of the others."""
    taken = set()
    with ExitStack() as stack:
        for folder in folders:
            try:
                stack.enter_context(run_lock(folder.lock))
            except RunIsTaken:
                taken.add(folder.run_id)
        yield taken


def is_taken(path: Path) -> bool:
    """Whether a command works on the run now."""
    try:
        with run_lock(path):
            return False
    except RunIsTaken:
        return True
