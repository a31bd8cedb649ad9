"""Faults that are qualities of chunks: failing, poisoned, doubled, corrupted; and their proof."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ttg_worker import wire
from ttg_worker.simulated_faults import Picks
from ttg_worker.wire import ChunkResult, DeadLetter
from ttgctl.domain.fault_schedule import picked_chunks
from ttgctl.domain.faults import FaultSpec, parse_plan
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord


@dataclass(frozen=True, kw_only=True)
class ChunkFaults:
    """What a run's workers and its publisher have to know of its plan; picks are texts for
    :class:`~ttg_worker.simulated_faults.Picks`."""

    error_rate: float
    poison: str
    corrupt: str
    duplicate: str


def chunk_faults(spec: RunSpec) -> ChunkFaults:
    """The plan's faults of chunks, all of a kind as one; ``spec.fault_rate`` is one of them."""
    rate_of_success = 1 - spec.fault_rate
    picks: dict[str, list[str]] = {}
    for index, fault in enumerate(parse_plan(spec.faults).faults):
        if fault.rate is not None:
            rate_of_success *= 1 - fault.rate
        elif not fault.timed:
            picks.setdefault(fault.kind, []).append(_picks(fault, index, spec))
    return ChunkFaults(
        error_rate=round(1 - rate_of_success, 9),
        poison=",".join(picks.get("poison", ())),
        corrupt=",".join(picks.get("corrupt-result", ())),
        duplicate=",".join(picks.get("duplicate", ())),
    )


def _picks(fault: FaultSpec, index: int, spec: RunSpec) -> str:
    return picked_chunks(fault, index=index, seed=spec.seed, chunks_total=spec.chunks_total)


class ChunkFault:
    """Counts what a fault of chunks did, from the results and dead letters that it is shown."""

    def __init__(self, fault_id: int, fault: FaultSpec, *, index: int, spec: RunSpec) -> None:
        self._fault_id = fault_id
        self._fault = fault
        self._index = index
        text = "" if fault.rate is not None else _picks(fault, index, spec)
        self._picks = Picks(text, seed=spec.seed, purpose=fault.kind)
        self._victim = victim_words(fault, index=index, spec=spec)
        self._first_at: float | None = None
        self._results: Counter[int] = Counter()
        self._bitten: set[int] = set()
        self._failed_attempts = 0

    def see_result(self, result: ChunkResult) -> None:
        kind, chunk_id = self._fault.kind, result.chunk_id
        if kind == "error-rate":
            retries = result.attempt - result.redelivered - 1
            if retries > 0:
                self._failed_attempts += retries
                self._bite(chunk_id, result.finished_at)
        elif kind == "duplicate" and chunk_id in self._picks:
            self._results[chunk_id] += 1
            if self._results[chunk_id] > 1:
                self._bite(chunk_id, result.finished_at)
        elif kind == "corrupt-result" and chunk_id in self._picks and _changed(result):
            self._bite(chunk_id, result.finished_at)

    def see_dead_letter(self, letter: DeadLetter) -> None:
        chunk = letter.chunk
        if chunk is None or letter.cause != "failed":
            return
        if self._fault.kind == "error-rate":
            self._failed_attempts += chunk.retries + 1
            self._bite(chunk.chunk_id, letter.at)
        elif self._fault.kind == "poison" and chunk.chunk_id in self._picks:
            self._bite(chunk.chunk_id, letter.at)

    def _bite(self, chunk_id: int, at: float) -> None:
        self._bitten.add(chunk_id)
        self._first_at = at if self._first_at is None else min(self._first_at, at)

    def record(self, *, first_delivery_at: float | None) -> FaultRecord:
        """The fault and what it did so far; ``at_seconds`` is when it first did."""
        at_seconds = 0.0
        if self._first_at is not None and first_delivery_at is not None:
            at_seconds = round(max(0.0, self._first_at - first_delivery_at), 3)
        return FaultRecord(
            fault_id=self._fault_id,
            kind=self._fault.kind,
            victim=self._victim,
            at_seconds=at_seconds,
            effect=self._effect(),
            note="the run has none of these chunks" if self._victim is None else None,
            plan_index=self._index,
        )

    def _effect(self) -> str | None:
        chunks = len(self._bitten)
        if not chunks:
            return None
        shown = f"{chunks} chunk{'' if chunks == 1 else 's'}"
        return {
            "error-rate": f"{self._failed_attempts} attempts failed, of {shown}",
            "poison": f"{shown} dead-lettered",
            "duplicate": f"{shown} computed twice",
            "corrupt-result": f"{shown} with values that differ from their checksum",
        }[self._fault.kind]


def _changed(result: ChunkResult) -> bool:
    return wire.digest(bytes(result.values)) != result.digest


def victim_words(fault: FaultSpec, *, index: int, spec: RunSpec) -> str | None:
    """Which chunks, for a reader; None for none."""
    if fault.rate is not None:
        return f"{fault.rate * 100:g}% of all attempts"
    picks = _picks(fault, index, spec)
    if not picks:
        return None
    if fault.share_percent is not None:
        return f"{picks} of all chunks"
    ids = picks.split(",")
    shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
    return f"chunk{'' if len(ids) == 1 else 's'} {shown}"
