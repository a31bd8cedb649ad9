"""The broker's management UI as a view of a run: told of, and opened, once the run's stream names it."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Final

from ttgctl.cli.options.flags import Monitor
from ttgctl.core.ports import Say, Substrate
from ttgctl.domain.events import Phase, RunEvent
from ttgctl.domain.run import RunSpec

UI: Final = "ui"


class WebMonitor:
    """A reader of a run's events beside the view in the terminal."""

    def __init__(self, spec: RunSpec, substrate: Substrate, say: Say) -> None:
        self._password_command = substrate.password_command(spec.run_id)
        self._say = say

    def show(self, event: RunEvent) -> None:
        if isinstance(event, Phase) and event.name == UI:
            self._say(f"management UI: {event.detail}")
            self._say(f"its user and password: {self._password_command}")
            if not open_in_browser(event.detail):
                self._say("no browser was opened: this machine has none")


def with_ui(monitor: Monitor, spec: RunSpec, say: Say) -> bool:
    """Whether the run is to be watched in a browser, and can be; says so when it can't."""
    if monitor not in (Monitor.web, Monitor.both):
        return False
    if spec.backend == "rabbitmq" and not spec.placement.external_broker:
        return True
    whose = "a broker that was there before" if spec.placement.external_broker else spec.backend
    say(f"--monitor {monitor.value}: ttgctl knows no web UI of {whose}; the run is shown here")
    return False


def open_in_browser(url: str) -> bool:
    """False where there is none: a browser for terminals would take this terminal over."""
    graphical = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    return graphical and webbrowser.open(url)
