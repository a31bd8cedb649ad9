"""How long the victims of a fault said nothing, to one who was listening all the while."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ttgctl.core.faults.view import RunView

# Workers send a heartbeat every second: what is shorter is no silence.
LEAST_SECONDS: Final = 1.5
# Between two looks nobody listens: of a longer gap no more than this counts.
LOOK_SECONDS: Final = 1.0
# On a busy machine a heartbeat may be late for reasons of its own; a fault's silence lasts as the fault does.
LEAST_SHARE: Final = 0.5


class Silence:
    """Begins at ``view`` with the newest heartbeats of its workers; after :meth:`end`, ``words`` says what
    came of it.

    Goes by when a heartbeat comes in, not by what the worker's clock says. Time in which nobody could
    be heard, as the broker was away or the command itself stood still, is no silence.
    """

    def __init__(self, workers: Collection[str], view: RunView) -> None:
        self._workers = workers
        self._looked_at = view.now
        self._seconds = 0.0
        self._longest = 0.0
        self.ended = False
        self.heard_from = self._newest(view)
        self.words: str | None = None

    def see(self, view: RunView) -> bool:
        """Whether one of them is heard; ``heard_from`` is the time (Unix seconds) in its heartbeat."""
        passed, self._looked_at = view.now - self._looked_at, view.now
        newest = self._newest(view)
        if newest > self.heard_from:
            self.heard_from, self._seconds = newest, 0.0
            return True
        if self._workers and view.broker_answers:
            self._seconds += min(passed, LOOK_SECONDS)
            self._longest = max(self._longest, self._seconds)
        return False

    def end(self, *, fault_seconds: float) -> None:
        """Judges it by how long the fault was in effect. What comes later belongs to something else."""
        if not self.ended and self._longest >= max(LEAST_SECONDS, LEAST_SHARE * fault_seconds):
            self.words = f"silent for {self._longest:.1f} s"
        self.ended = True

    def _newest(self, view: RunView) -> float:
        return max((view.heartbeats[w].at for w in self._workers if w in view.heartbeats), default=0.0)
