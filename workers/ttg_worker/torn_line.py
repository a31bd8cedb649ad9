"""Where the whole lines of a file end, though a killed writer left half of one behind."""

from __future__ import annotations

import os
from typing import Final

_BLOCK: Final = 65_536


def end_of_whole_lines(descriptor: int) -> int:
    """The place after the last newline of an open file; 0 where there is none."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
