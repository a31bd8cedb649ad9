"""The events themselves on stdout, a JSON object a line, for other programs."""

from __future__ import annotations

import sys
from typing import BinaryIO

from ttgctl.core.records.event_log import encode_event
from ttgctl.domain.events import RunEvent
from ttgctl.ui.live.view import OutputGone


class NdjsonView:
    """Each event is out when :meth:`show` returns. The same lines as in ``events.ndjson``."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream or sys.stdout.buffer

    def show(self, event: RunEvent) -> None:
        try:
            self._stream.write(encode_event(event) + b"\n")
            self._stream.flush()
        except OSError as error:
            raise OutputGone(f"stdout: {error.strerror or error}") from error

    def close(self) -> None:
        """Nothing is left to flush: every event is out, or :meth:`show` has said that it is not."""
