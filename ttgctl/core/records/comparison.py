"""Runs of the same sweep side by side: by backend, without and with faults, medians of repeats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from ttgctl.core.records.run_record import RunRecord
from ttgctl.domain.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All runs of one backend on one substrate, undisturbed or ``faulted``.

    Times and rates are medians over ``runs``, seconds. ``ok`` and ``attempted`` are those of the
    run that lost most, ``lost`` and ``dead_lettered`` sums. ``recovery_seconds`` is the median over
    runs of the longest wait for a chunk that a fault took from its worker; None: none was taken.
    ``queues_after`` are those of the newest run.
    """

    backend: str
    substrate: str
    faulted: bool
    runs: int
    incomplete: int
    lossless: int
    ok: int
    attempted: int
    lost: int
    dead_lettered: int
    duplicated: int
    seconds: float
    parameters_per_second: float
    recovery_seconds: float | None
    replaced_seconds: float | None
    queues_after: dict[str, int]

    @property
    def name(self) -> str:
        return f"{self.backend} on {self.substrate}, {'with' if self.faulted else 'no'} fault"


def compare(records: Iterable[RunRecord]) -> list[Cell]:
    """One cell a kind of run with a verdict, backends in the order that they came, undisturbed first."""
    groups: dict[tuple[str, str, bool], list[tuple[RunRecord, Verdict]]] = {}
    order: dict[tuple[str, str], int] = {}
    for record in records:
        if record.verdict is None:
            continue
        place = (record.spec.backend, record.spec.substrate)
        order.setdefault(place, len(order))
        groups.setdefault((*place, record.faulted), []).append((record, record.verdict))
    keys = sorted(groups, key=lambda key: (order[key[:2]], key[2]))
    return [_cell(key, groups[key]) for key in keys]


def _cell(key: tuple[str, str, bool], runs: list[tuple[RunRecord, Verdict]]) -> Cell:
    verdicts = [verdict for _, verdict in runs]
    worst = min(verdicts, key=lambda verdict: verdict.chunks.ok - verdict.chunks.attempted)
    newest = max(runs, key=lambda run: run[0].started_at)[1]
    recovery = [verdict.recovery.max_seconds for verdict in verdicts if verdict.recovery is not None]
    replaced = [
        fault.replaced_seconds
        for verdict in verdicts
        for fault in verdict.faults
        if fault.replaced_seconds is not None
    ]
    return Cell(
        backend=key[0],
        substrate=key[1],
        faulted=key[2],
        runs=len(runs),
        incomplete=sum(not verdict.complete for verdict in verdicts),
        lossless=sum(verdict.lossless for verdict in verdicts),
        ok=worst.chunks.ok,
        attempted=worst.chunks.attempted,
        lost=sum(verdict.chunks.lost for verdict in verdicts),
        dead_lettered=sum(verdict.chunks.dead_lettered for verdict in verdicts),
        duplicated=sum(verdict.chunks.duplicated for verdict in verdicts),
        seconds=median(verdict.seconds for verdict in verdicts),
        parameters_per_second=median(verdict.parameters_per_second for verdict in verdicts),
        recovery_seconds=median(recovery) if recovery else None,
        replaced_seconds=median(replaced) if replaced else None,
        queues_after=newest.queues_after,
    )
