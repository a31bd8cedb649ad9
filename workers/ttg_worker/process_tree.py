"""Everything that a process started, and its end: none of it outlives what it belongs to."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_END_SECONDS: Final = 2.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def adopt_orphans() -> None:
    """From now on what descendants of this process leave behind becomes its child, and not process 1's."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """The process's children and theirs, as far as they are there; parents first."""
    found: list[int] = []
    unseen = [pid]
    while unseen:
        children = _children(unseen.pop())
        found += children
        unseen += children
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_bytes().split())
    return found


def memory_bytes(pid: int) -> int:
    """What the process and its descendants hold in memory, what they share counted once for each."""
    return sum(map(_resident_bytes, [pid, *descendants(pid)]))


def _resident_bytes(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    return 0


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Signals the process, its process group and all its descendants."""
    tree = [pid, *descendants(pid)]
    with suppress(OSError):
        os.killpg(pid, number)
    for each in tree:
        with suppress(OSError):
            os.kill(each, number)


def end_orphans(*, spared: int | None = None) -> None:
    """Kills and reaps all children of this process but one; done when none is left, or after 2 s."""
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        orphans = [pid for pid in _children(os.getpid()) if pid != spared]
        if not orphans:
            return
        for pid in orphans:
            signal_tree(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.005)


def reap_orphans(*, spared: int | None = None) -> None:
    """Reaps those children that ended by themselves."""
    for pid in _children(os.getpid()):
        if pid != spared:
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
