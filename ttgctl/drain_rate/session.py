"""One session of measurements: a broker, numbers of workers, in turn, several times over."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from ttg_worker.brokers import backend_of
from ttgctl.core.ports import MissingRequirement
from ttgctl.domain.drain_rate import DrainRate
from ttgctl.drain_rate.guarded_folder import guard_run, guarded_folder
from ttgctl.drain_rate.servers import missing, running_servers
from ttgctl.drain_rate.workers import drain

BACKENDS: Final = ("rabbitmq", "redis")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``broker_url`` names a broker that is there; without it one of ``backend`` is started, or, if that
    is None, one of each backend whose server is installed."""

    backend: str | None
    broker_url: str | None
    workers: Sequence[int]
    chunks: int
    repeat: int


def measure(plan: Plan, say: Callable[[str], None]) -> list[DrainRate]:
    """The rates by backend and number of workers, measured in turn so that what else the machine does
    hits all alike.

    Raises :class:`MissingRequirement` where no broker can be had, and
    :class:`~ttgctl.drain_rate.rates.BenchmarkError` for a measurement that can't be trusted.
    """
    run_id = f"bench-{secrets.token_hex(4)}"
    with guarded_folder(prefix="ttgctl-bench-") as folder, ExitStack() as stack:
        if plan.broker_url is not None:
            guard_run(folder, plan.broker_url, run_id)
            urls = {backend_of(plan.broker_url): plan.broker_url}
        else:
            urls = stack.enter_context(running_servers(_backends(plan, say), folder / "servers"))
        seen: dict[tuple[str, int], list[float]] = {}
        for turn in range(1, plan.repeat + 1):
            for backend, url in urls.items():
                for workers in plan.workers:
                    rate = drain(url, run_id, workers=workers, chunks=plan.chunks, folder=folder / "workers")
                    seen.setdefault((backend, workers), []).append(rate)
                    say(f"{turn}/{plan.repeat}  {backend}, {workers} workers: {rate:,.0f} chunks/s")
    return [
        DrainRate(backend=backend, workers=workers, chunks=plan.chunks, rates=tuple(rates))
        for (backend, workers), rates in seen.items()
    ]


def _backends(plan: Plan, say: Callable[[str], None]) -> list[str]:
    wanted = BACKENDS if plan.backend is None else (plan.backend,)
    problems = {backend: missing(backend) for backend in wanted}
    found = [backend for backend, problem in problems.items() if problem is None]
    lacking = [f"{backend} is not measured: {problem}" for backend, problem in problems.items() if problem]
    if not found:
        raise MissingRequirement("; ".join(lacking))
    for line in lacking:
        say(line)
    return found
