"""Which way a run is shown, and the one way to open it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from ttgctl.domain.events import RunEvent

Mode = Literal["live", "plain", "ndjson", "none"]


class OutputGone(Exception):
    """Nobody takes what a view shows any more: its reader left, or its disk is full."""


class View(Protocol):
    """A reader of a run's events. None of them prints the verdict: see ``verdict_view``."""

    def show(self, event: RunEvent) -> None: ...

    def close(self) -> None: ...


def choose_mode(
    output: Literal["text", "json", "ndjson"],
    *,
    stream_is_terminal: bool,
    monitor: Literal["cli", "web", "both", "none"] = "cli",
) -> Mode:
    """How to show a run. ``stream_is_terminal`` is about stderr, where all status goes.

    With ``monitor`` ``web`` the picture is in the browser and lines are enough here; with
    ``none`` only trouble is said.
    """
    if output == "ndjson":
        return "ndjson"
    if monitor == "none":
        return "none"
    return "live" if stream_is_terminal and monitor != "web" else "plain"


@contextmanager
def open_view(mode: Mode) -> Iterator[View]:
    """The view, closed (and the terminal as it was) at the end whatever happens."""
    view = _open(mode)
    try:
        yield view
    finally:
        view.close()


def _open(mode: Mode) -> View:
    # Each is imported when it is wanted: Rich takes a third of what --help may take.
    if mode == "ndjson":
        from ttgctl.ui.live.ndjson import NdjsonView

        return NdjsonView()
    if mode == "live":
        from ttgctl.ui.live.live import LiveView

        return LiveView()
    from ttgctl.ui.live.plain import PlainView

    return PlainView(trouble_only=mode == "none")
