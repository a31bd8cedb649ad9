"""One run of the benchmark: what can be measured here, measured, and everything gone after it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import command_costs
from benchmarks.contenders import CELERY, DRAMATIQ, RESULTS_DATABASES, contenders, installed
from benchmarks.table import Report
from benchmarks.throughput import Aim, aims, measure
from ttgctl.core.ports import MissingRequirement
from ttgctl.drain_rate.guarded_folder import guarded_folder
from ttgctl.drain_rate.servers import missing, running_servers
from ttgctl.drain_rate.session import BACKENDS

INSTALL: Final = "pip install 'ttgctl[dev]'"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``whats`` are contenders by name; ``insisted`` says that the user named them, and the
    backends, so that what is missing is an error and not a note."""

    whats: Sequence[str]
    backends: Sequence[str]
    workers: Sequence[int]
    chunks: int
    repeat: int
    commands: bool
    runs: bool
    insisted: bool
    baseline: Path | None = None


def carry_out(plan: Plan, say: Callable[[str], None]) -> Report:
    """Raises :class:`MissingRequirement` where the plan insists on what is not here, and
    :class:`~ttgctl.drain_rate.rates.BenchmarkError` for a measurement that can't be trusted."""
    notes = _lacking(plan)
    if notes and plan.insisted:
        raise MissingRequirement("; ".join(notes))
    whats = [what for what in plan.whats if installed(what)]
    backends = [backend for backend in plan.backends if missing(backend) is None]
    with guarded_folder(prefix="ttgctl-bench-") as folder:
        costs = _command_costs(plan, backends, folder, say)
        throughput = []
        if whats:
            needed = BACKENDS if {CELERY, DRAMATIQ} & set(whats) else backends
            with running_servers([b for b in needed if missing(b) is None], folder / "servers") as urls:
                measured = [
                    contender
                    for contender in contenders(
                        whats,
                        urls=urls,
                        workers=plan.workers,
                        chunks=plan.chunks,
                        folder=folder / "workers",
                        baseline=plan.baseline,
                    )
                    if contender.backend in backends
                ]
                throughput = measure(measured, repeat=plan.repeat, say=say)
    return Report(repeat=plan.repeat, throughput=throughput, aims=[*aims(throughput), *costs], notes=notes)


def _lacking(plan: Plan) -> list[str]:
    notes = [f"{what} is not measured: {INSTALL}" for what in plan.whats if not installed(what)]
    for backend in plan.backends:
        problem = missing(backend)
        if problem is not None:
            notes.append(f"{backend} is not measured: {problem}")
    rivals = [what for what in plan.whats if what in RESULTS_DATABASES and installed(what)]
    if rivals and any(missing(backend) for backend in BACKENDS):
        notes.append(f"{' and '.join(rivals)} need both brokers")
    return notes


def _command_costs(
    plan: Plan, backends: Sequence[str], folder: Path, say: Callable[[str], None]
) -> list[Aim]:
    measurements: list[tuple[int, Callable[[], Aim]]] = []
    if plan.commands:
        first_chunk = partial(command_costs.first_chunk_time, folder)
        measurements += [(plan.repeat, command_costs.help_time), (plan.repeat, first_chunk)]
    if plan.runs:
        # Once each: they take minutes, and seconds of simulated work hardly vary.
        for backend in backends:
            for kill in (False, True):
                small = partial(command_costs.small_run_time, backend, kill=kill, folder=folder)
                measurements.append((1, small))
        measurements.append((1, partial(command_costs.memory_use, folder)))
    found = []
    for repeat, measurement in measurements:
        found.append(_median_of(measurement, repeat))
        say(f"{found[-1].what}: {found[-1].measured:.2f} {found[-1].unit}")
    return found


def _median_of(measurement: Callable[[], Aim], repeat: int) -> Aim:
    seen = [measurement() for _ in range(repeat)]
    return replace(seen[0], measured=statistics.median(one.measured for one in seen))
