"""Everything that a process started, and its end: none of it outlives what it belongs to."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterable
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


def signal_tree(pid: int, number: signal.Signals) -> list[int]:
    """Signals the process, its process group and all its descendants; returns these."""
    tree = descendants(pid)
    with suppress(OSError):
        os.killpg(pid, number)
    for each in [pid, *tree]:
        with suppress(OSError):
            os.kill(each, number)
    return tree


def end_orphans(killed: Iterable[int], *, mark: str) -> None:
    """Kills what is a child of this process now and has the mark, ``NAME=value``, in its environment, and
    reaps that and those that were ``killed`` already; done when none is left, or after 2 s."""
    ours = set(killed)
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        children = _children(os.getpid())
        ours.update(pid for pid in children if _has_mark(pid, mark))
        left = ours.intersection(children)
        if not left:
            return
        for pid in left:
            ours.update(signal_tree(pid, signal.SIGKILL))
            with suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)


def _has_mark(pid: int, mark: str) -> bool:
    with suppress(OSError):
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False
