"""What the fault injector may know of a run at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ttg_worker.wire import Heartbeat
from ttgctl.core.ports import WorkerStatus


@dataclass(frozen=True, kw_only=True)
class RunView:
    """``fraction`` is distinct accounted chunks over all, ``elapsed_seconds`` since the first
    delivery (0 before it), ``first_delivery_at`` its Unix seconds, ``now`` Unix seconds.
    ``heartbeats`` has the newest heartbeat of each worker, ``has_result`` tells whether a chunk has one.
    While not ``broker_answers`` no heartbeats can come."""

    fraction: float
    elapsed_seconds: float
    first_delivery_at: float | None
    now: float
    chunks_per_second: float
    heartbeats: Mapping[str, Heartbeat]
    workers: Sequence[WorkerStatus]
    has_result: Callable[[int], bool]
    broker_answers: bool = True
