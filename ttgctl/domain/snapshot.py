"""What a run looks like at one moment; every live view and file shows these figures and no others."""

from __future__ import annotations

from dataclasses import dataclass

from ttg_worker.brokers.base import QueueCounts


@dataclass(frozen=True, kw_only=True)
class WorkerRow:
    """One worker: ``chunks_per_second`` over the last seconds, ``last_seen_seconds`` ago."""

    worker_id: str
    state: str
    chunk_id: int | None
    done: int
    failed: int
    chunks_per_second: float
    last_seen_seconds: float | None
    node: str | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Progress is ``accounted``: distinct chunks with a result or given up, never a queue's length.

    ``elapsed_seconds`` runs from the first delivery (0 before it), rates are over the last
    seconds, ``eta_seconds`` is None while there is no rate. In ``queues`` no figure is None. The list of
    ``workers`` is ``workers_age_seconds`` old, which is more than moments while a control plane is away.
    """

    run_id: str
    backend: str
    substrate: str
    elapsed_seconds: float
    parameters_total: int
    parameters_done: int
    chunks_total: int
    published: int
    accounted: int
    dead_lettered: int
    retried: int
    redelivered: int
    duplicated: int
    conflicting: int
    chunks_per_second: float
    parameters_per_second: float
    eta_seconds: float | None
    queues: QueueCounts
    broker_state: str
    workers: tuple[WorkerRow, ...]
    workers_age_seconds: float = 0.0

    @property
    def fraction(self) -> float:
        return self.accounted / self.chunks_total
