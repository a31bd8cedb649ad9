"""How long a parameter may take and how much memory it may use, and how that is told."""

from __future__ import annotations

import re
from collections import deque
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final

_TIMES_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMEOUT: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|x)")
# For a limit in multiples of the median: of so many calls at least, of the newest, and never less than this.
_CALLS_LEAST: Final = 5
_CALLS_KEPT: Final = 500
_LEAST_SECONDS: Final = 1.0
_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
# In a container, of its limit: the worker itself needs some, and the kernel must not be the first to act.
_CONTAINER_SHARE: Final = 0.9
# How often memory is measured, from this share of its limit on, and below.
_NEAR_SHARE: Final = 0.3
_NEAR_SECONDS: Final = 0.01
_FAR_SECONDS: Final = 0.1
# Of control groups version 2 and 1; the latter has a number beyond all memory where there is no limit.
_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_CGROUP_EVENTS: Final = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)
_UNLIMITED_BYTES: Final = 2**60


class Limits:
    """``timeout`` is a duration (``30s``, ``5m``), or a multiple of the median so far (``10x``); empty for
    none. ``memory_bytes`` is for the compute process and all that it starts; 0 for none."""

    def __init__(self, *, timeout: str = "", memory_bytes: int = 0) -> None:
        self._seconds, self._multiple = parse_timeout(timeout) if timeout else (None, None)
        self._memory_bytes = memory_bytes
        self._took: deque[float] = deque(maxlen=_CALLS_KEPT)
        self._used_bytes = 0

    @property
    def memory_every_seconds(self) -> float | None:
        """How often memory is to be measured: often where it is near its limit, never without one."""
        if not self._memory_bytes:
            return None
        near = self._used_bytes > self._memory_bytes * _NEAR_SHARE
        return _NEAR_SECONDS if near else _FAR_SECONDS

    def took(self, seconds: float) -> None:
        """A call that gave its value took so long."""
        if self._multiple is not None:
            self._took.append(seconds)

    def too_long(self, seconds: float, *, parameters: int) -> tuple[str, str] | None:
        """Kind and text of the error where a call for ``parameters`` of them takes too long by now."""
        limit = self._seconds
        told = "" if limit is None else f"{limit:g}"
        if self._multiple is not None and len(self._took) >= _CALLS_LEAST:
            if seconds < _LEAST_SECONDS:
                return None
            limit = max(_LEAST_SECONDS, self._multiple * median(self._took))
            told = f"{limit:.3g}"
        if limit is None or seconds < limit * parameters:
            return None
        each = f" for each of {parameters} parameters" if parameters > 1 else ""
        return "timeout", f"no answer in {told} s{each}"

    def too_much(self, used_bytes: int) -> tuple[str, str] | None:
        """The same for memory."""
        self._used_bytes = used_bytes
        if used_bytes < self._memory_bytes:
            return None
        return "memory", f"out of memory: it took {size(used_bytes)} and may take {size(self._memory_bytes)}"


def parse_timeout(text: str) -> tuple[float | None, float | None]:
    """``(seconds, None)`` or ``(None, multiple of the median)``. Raises :class:`ValueError`."""
    match = _TIMEOUT.fullmatch(text.strip())
    if match is None or not float(match[1]) > 0:
        raise ValueError(f"{text!r}: expected a duration such as 30s or 5m, or 10x for ten times the median")
    number = float(match[1])
    return (None, number) if match[2] == "x" else (number * _TIMES_SECONDS[match[2]], None)


def size(number_bytes: float) -> str:
    """Such as ``2.3 GiB``."""
    for unit in _UNITS:
        if number_bytes < 1024 or unit == _UNITS[-1]:
            break
        number_bytes /= 1024
    return f"{number_bytes:.3g} {unit}"


def container_bytes() -> int:
    """What a compute process may use of this container's memory; 0 where that has no limit."""
    return int(container_limit_bytes() * _CONTAINER_SHARE)


def oom_kills() -> int:
    """How many processes of this container the kernel has ended for want of memory."""
    for path in _CGROUP_EVENTS:
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


def container_limit_bytes() -> int:
    """This container's memory; 0 where that has no limit."""
    for path in _CGROUP_LIMITS:
        with suppress(OSError):
            limit = path.read_text().strip()
            return int(limit) if limit.isdigit() and int(limit) < _UNLIMITED_BYTES else 0
    return 0
