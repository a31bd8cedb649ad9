"""Fault plans drawn at random, for runs that must come out lossless whatever is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from ttgctl.domain.fault_kinds import FaultKindName
from ttgctl.domain.faults import FaultPlan, parse_plan

FAULTS_MOST: Final = 3


def _at(draw: random.Random) -> str:
    return f"at={draw.randint(5, 70)}%"


def _for(draw: random.Random, least_seconds: float, most_seconds: float) -> str:
    return f"duration={round(draw.uniform(least_seconds, most_seconds), 1):g}s"


def _kill_worker(draw: random.Random) -> str:
    if draw.random() < 0.3:
        return f"every={draw.randint(4, 12) * 100}ms jitter=300ms times={draw.randint(2, 3)}"
    return f"{_at(draw)} count={draw.randint(1, 2)}"


# Poisoned chunks and corrupted results are not here: what they must give is no lossless run.
SURVIVABLE: Final[dict[FaultKindName, Callable[[random.Random], str]]] = {
    "kill-worker": _kill_worker,
    "stop-worker": lambda draw: f"{_at(draw)} {_for(draw, 0.5, 4)}",
    "slow-worker": lambda draw: f"{_at(draw)} {_for(draw, 1, 3)} factor={draw.randint(2, 6)}",
    "partition": lambda draw: f"{_at(draw)} {_for(draw, 0.5, 4)}",
    "restart-broker": lambda draw: f"{_at(draw)} {_for(draw, 0, 1)}",
    "kill-broker": lambda draw: f"{_at(draw)} {_for(draw, 0, 2)}",
    "stop-node": lambda draw: f"{_at(draw)} {_for(draw, 3, 8)}",
    "error-rate": lambda draw: f"rate={draw.randint(1, 8)}%",
    "duplicate": lambda draw: f"share={draw.randint(5, 20)}%",
}


def random_plan(seed: int, kinds: Sequence[FaultKindName]) -> FaultPlan:
    """One to three faults of these kinds, each kind once; the same for the same seed and kinds.

    The kinds must be some of :data:`SURVIVABLE`. Times suit a run of a few seconds.
    """
    draw = random.Random(seed)
    chosen = draw.sample(sorted(kinds), k=min(len(kinds), draw.randint(1, FAULTS_MOST)))
    return parse_plan(f"{kind} {SURVIVABLE[kind](draw)}" for kind in chosen)
