"""The live view: a picture of the run on a terminal, drawn four times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TextIO

from rich.live import Live

from ttgctl.domain.events import RunEvent
from ttgctl.ui.live.frame import Frame
from ttgctl.ui.live.run_state import RunState
from ttgctl.ui.text.console import status_console

FRAMES_PER_SECOND: Final = 4


class LiveView:
    """Draws in its own thread, so that a step that takes long still shows that it goes on."""

    def __init__(self, stream: TextIO | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._run_state = RunState()
        self._now = now
        self._console = status_console(stream)
        self._final = False
        self._live = Live(
            console=self._console,
            get_renderable=self._frame,
            refresh_per_second=FRAMES_PER_SECOND,
            # Data on stdout must stay there; Rich would lead it to this console.
            redirect_stdout=False,
            vertical_overflow="crop",
        )
        self._live.start()

    def show(self, event: RunEvent) -> None:
        # The thread that draws sees either the old state or the new one, both whole.
        self._run_state = self._run_state.after(event)

    def close(self) -> None:
        """Leaves the last state, without what was only of the moment, above the cursor."""
        self._final = self._run_state.ended
        self._live.stop()
        if self._final:
            self._console.print()

    def _frame(self) -> Frame:
        # One line less than there are: the cursor's own would scroll the top away.
        height = self._console.size.height - 1
        return Frame(self._run_state, now=self._now(), height=height, final=self._final)
