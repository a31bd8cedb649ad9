"""Standard streams that the command may be started without, or whose reader may go away."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Opens closed stdin, stdout and stderr on nothing, so that no file of ours gets their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, and those below are open by now.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def forget_stdout() -> None:
    """Nobody reads it any more: what is still in its buffer must not fail at the end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
