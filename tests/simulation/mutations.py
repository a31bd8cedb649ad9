"""Mistakes put into the product on purpose: a simulation that does not find them would find nothing."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from simulation.broker import SimulatedConsumer
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.faults.injector import FaultInjector
from ttgctl.core.faults.proof import ChunkAttribution
from ttgctl.core.run.quiescence import Quiescence
from ttgctl.core.run.run_setup import RunSetup
from ttgctl.core.run.worker_clocks import WorkerClocks


@dataclass(frozen=True)
class Mutation:
    """In the source of a method, ``old`` becomes ``new``."""

    name: str
    owner: type
    method: str
    old: str
    new: str


MUTATIONS: Final = (
    Mutation(
        "a chunk is acked before its result is safe",
        SimulatedConsumer,
        "settle",
        "self.record(outcome)",
        "self.end(delivery, outcome); scheduler().sleep(0.05); self.record(outcome)",
    ),
    Mutation(
        "results of chunks that the run does not have are taken",
        Ledger,
        "record_result",
        "not 0 <= chunk_id < len(self._seen)",
        "False",
    ),
    Mutation(
        "what the broker tells twice is counted twice",
        Ledger,
        "record_result",
        "position <= self.results_position",
        "False",
    ),
    Mutation("faults are not undone", FaultInjector, "undo", "active.undo()", "pass"),
    Mutation(
        "workers' clocks are believed", WorkerClocks, "hear", "behind = now - said_at", "return said_at"
    ),
    Mutation(
        "what is missing is lost at once",
        Quiescence,
        "over",
        "if self._news() or waits_for_worker or unknown or in_hand or self._injector.unsettled:",
        "if False:",
    ),
    Mutation(
        "whatever is delivered again was the newest victim's",
        ChunkAttribution,
        "is_only_cause",
        "return near == [begun_at]",
        "return True",
    ),
    Mutation(
        "whoever leaves a run leaves its workers",
        RunSetup,
        "abandon",
        "self._teardown.carry_out()",
        "[]",
    ),
)


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    owner: Any = mutation.owner
    before: Callable[..., Any] = getattr(owner, mutation.method)
    source = textwrap.dedent(inspect.getsource(before))
    assert source.count(mutation.old) == 1, f"{mutation.name}: the source is not what it was"
    made: dict[str, Any] = {}
    names = vars(sys.modules[owner.__module__])
    exec(source.replace(mutation.old, mutation.new), names, made)
    setattr(owner, mutation.method, made[mutation.method])
    try:
        yield
    finally:
        setattr(owner, mutation.method, before)
