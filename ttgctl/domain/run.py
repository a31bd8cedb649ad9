"""A run's specification: all that decides which chunks there are and what is done with them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.compute.synthetic import REFERENCE as SYNTHETIC
from ttg_worker.wire import CHUNK_PARAMETERS_MOST

RUN_ID: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class SpecError(ValueError):
    """A value of a run's specification makes no sense; says which, and what is accepted."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where on a substrate the run is; what a later command needs to find it again.

    ``external_broker`` says that the broker was there before and is never stopped; its URL is a
    secret and not part of this.
    """

    context: str | None = None
    namespace: str = "ttg"
    cluster: str = "ttg-sandbox"
    nodes: int = 3
    node_image: str | None = None
    image: str | None = None
    external_broker: bool = False


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One sweep. Chunks follow from this alone, so whoever holds it can publish the rest.

    ``workload`` is ``FILE:FUNCTION`` (a file in the run's folder, with the modules that it
    imports beside it), ``MODULE:FUNCTION``, or the synthetic one. ``parameter_source`` names the
    file of the run's folder that holds the parameters; None means that the parameters are the
    indices themselves. ``chunk_function`` says that the function takes a whole chunk and returns
    a list. ``python`` is the interpreter that computes on this machine, None the one of ttgctl.
    ``idle_exit_seconds`` is how long a worker whose command died stays without work.
    ``created_at`` is in Unix seconds.
    """

    run_id: str
    backend: str
    substrate: str
    parameters_total: int
    chunk_size: int
    workers: int = 3
    workload: str = SYNTHETIC
    chunk_function: bool = False
    parameter_source: str | None = None
    work_ms: float = 0.0
    python: str | None = None
    parameter_timeout: str = ""
    parameter_memory_bytes: int = 0
    out: str | None = None
    reuse: tuple[str, ...] = ()
    fault_rate: float = 0.0
    seed: int = 0
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)
    placement: Placement = field(default_factory=Placement)
    faults: tuple[str, ...] = ()
    require_effect: bool = False
    unsafe_ack_early: bool = False
    timeout_seconds: float | None = None
    idle_exit_seconds: float = 60.0
    created_at: float = 0.0

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(self.run_id):
            raise SpecError(
                f"run name {self.run_id!r}: expected 1 to 40 of a-z, 0-9 and '-', with no '-' at either end"
            )
        for name, value, least in (
            ("parameters", self.parameters_total, 1),
            ("chunk size", self.chunk_size, 1),
            ("workers", self.workers, 1),
            ("seed", self.seed, 0),
            ("work in ms", self.work_ms, 0),
        ):
            # A NaN is not inside any bounds, so that is what must be asked.
            if not least <= value < math.inf:
                raise SpecError(f"{name} {value}: expected {least} or more")
        if min(self.chunk_size, self.parameters_total) > CHUNK_PARAMETERS_MOST:
            raise SpecError(f"chunk size {self.chunk_size}: expected at most {CHUNK_PARAMETERS_MOST}")
        if not 0 <= self.fault_rate <= 1:
            raise SpecError(f"fault rate {self.fault_rate}: expected 0 to 1")
        if self.timeout_seconds is not None and not 0 < self.timeout_seconds < math.inf:
            raise SpecError(f"timeout {self.timeout_seconds} s: expected more than 0")

    @property
    def synthetic(self) -> bool:
        return self.workload == SYNTHETIC

    @property
    def has_queue(self) -> bool:
        """Whether somebody else gets the chunks of a worker that died; not so with fixed shares."""
        return self.backend != "static"

    @property
    def workload_file(self) -> str | None:
        """The workload's file in the run's ``input/workload/``; None for one that is imported by name."""
        file, _, _ = self.workload.rpartition(":")
        return file if file.endswith(".py") else None

    @property
    def chunks_total(self) -> int:
        return -(-self.parameters_total // self.chunk_size)

    def chunk_range(self, chunk_id: int) -> range:
        """The parameter indices of one chunk; the last chunk may be shorter than the others."""
        if not 0 <= chunk_id < self.chunks_total:
            raise IndexError(f"chunk {chunk_id} of {self.chunks_total}")
        start = chunk_id * self.chunk_size
        return range(start, min(start + self.chunk_size, self.parameters_total))

    def chunk_ranges(self, *, first: int = 0) -> Iterator[tuple[int, range]]:
        """``(chunk_id, indices)`` of every chunk from ``first`` on, in order, lazily."""
        for chunk_id in range(first, self.chunks_total):
            yield chunk_id, self.chunk_range(chunk_id)
