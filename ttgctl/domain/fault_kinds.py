"""What kinds of faults there are: whom each hits, what it needs, and what undoes it. The only such table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FaultKindName = Literal[
    "kill-worker",
    "stop-worker",
    "slow-worker",
    "partition",
    "restart-broker",
    "kill-broker",
    "stop-node",
    "error-rate",
    "poison",
    "duplicate",
    "corrupt-result",
]
Target = Literal["worker", "node", "broker", "chunks"]

TIMES: Final = ("at", "every", "jitter", "times")
VICTIMS: Final = ("count", "share", "where")
CHUNKS: Final = ("count", "share", "chunks")


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """``target`` is what it hits. ``keys`` are the words that a plan may give it.

    ``between_workers`` says that it hits what lies between workers, which fixed shares have not.
    ``duration_seconds`` is how long it lasts unless the plan says otherwise; None for what has no end of its
    own. ``undone_by`` says what undoes it; None for what can't be undone, and for chunks, where nothing is.
    """

    target: Target
    keys: tuple[str, ...]
    between_workers: bool = False
    duration_seconds: float | None = None
    undone_by: str | None = None

    @property
    def timed(self) -> bool:
        """Whether it happens at a moment and not to chunks, whenever these are computed."""
        return "at" in self.keys


FAULT_KINDS: Final[dict[FaultKindName, FaultKind]] = {
    "kill-worker": FaultKind(target="worker", keys=(*TIMES, *VICTIMS)),
    "stop-worker": FaultKind(
        target="worker", keys=(*TIMES, *VICTIMS, "duration"), duration_seconds=10.0, undone_by="SIGCONT"
    ),
    # Without a duration it lasts until the run ends.
    "slow-worker": FaultKind(
        target="worker", keys=(*TIMES, *VICTIMS, "duration", "factor"), undone_by="SIGCONT"
    ),
    "partition": FaultKind(
        target="worker",
        keys=(*TIMES, *VICTIMS, "duration"),
        between_workers=True,
        duration_seconds=10.0,
        undone_by="letting its packets through",
    ),
    "restart-broker": FaultKind(
        target="broker",
        keys=(*TIMES, "duration"),
        between_workers=True,
        duration_seconds=0.0,
        undone_by="starting the broker",
    ),
    "kill-broker": FaultKind(
        target="broker",
        keys=(*TIMES, "duration"),
        between_workers=True,
        duration_seconds=2.0,
        undone_by="starting the broker",
    ),
    "stop-node": FaultKind(
        target="node",
        keys=(*TIMES, *VICTIMS, "duration"),
        duration_seconds=10.0,
        undone_by="starting the node",
    ),
    "error-rate": FaultKind(target="chunks", keys=("rate",)),
    "poison": FaultKind(target="chunks", keys=CHUNKS),
    "duplicate": FaultKind(target="chunks", keys=CHUNKS),
    "corrupt-result": FaultKind(target="chunks", keys=CHUNKS),
}
