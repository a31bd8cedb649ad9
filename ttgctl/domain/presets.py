"""The sizes of the demo, by the names that its users know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Scale:
    """``work_ms`` is how long one parameter's simulated work takes."""

    parameters_total: int
    chunk_size: int
    work_ms: float


SCALES: Final = {
    "small": Scale(1_000, 10, 100),
    "medium": Scale(10_000, 100, 10),
    "large": Scale(100_000, 100, 1),
}
# The demo's fault: one worker, while it holds a chunk, at about this progress.
FAULT_DEMO: Final = "kill-worker at=30% count=1"
