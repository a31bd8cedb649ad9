"""This project's own rate: real worker processes drain a run that was published before."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from ttg_worker.brokers.base import Broker, Unreadable
from ttg_worker.settings import WorkerSettings
from ttgctl.drain_rate.published_run import OPTIONS, published_run
from ttgctl.drain_rate.rates import BenchmarkError, Done, chunks_per_second
from ttgctl.drain_rate.worker_processes import worker_processes

# The workers end by themselves if this process is killed.
IDLE_EXIT_SECONDS: Final = 30.0
LAST_RESULTS_SECONDS: Final = 60.0


def drain(
    url: str, run_id: str, *, workers: int, chunks: int, folder: Path, checkout: Path | None = None
) -> float:
    """Chunks per second; the work of each is nothing. ``run_id`` names queues that are nobody else's.

    The workers are those of another ``checkout`` where there is one.
    """
    other = {} if checkout is None else {"PYTHONPATH": str(checkout / "workers")}
    with published_run(url, run_id, chunks) as broker, worker_processes(folder) as group:
        for number in range(1, workers + 1):
            settings = WorkerSettings(
                broker_url=url,
                run_id=run_id,
                worker_id=f"worker-{number}",
                delivery=OPTIONS,
                idle_exit_seconds=IDLE_EXIT_SECONDS,
            )
            group.start(
                [sys.executable, "-m", "ttg_worker"],
                name=settings.worker_id,
                environment={**settings.to_environment(), **other},
            )
        # Asking for a count costs the broker nothing; reading results along would.
        group.wait(lambda: broker.counts(run_id).tasks)
        return chunks_per_second(_results(broker, run_id, chunks))


def _results(broker: Broker, run_id: str, chunks: int) -> list[Done]:
    """Of every chunk the first result; a benchmark that lost one would measure nothing of worth."""
    done: dict[int, Done] = {}
    deadline = time.monotonic() + LAST_RESULTS_SECONDS
    observer = broker.observer(run_id)
    try:
        for recorded in observer.results():
            if recorded is None:
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"ttgctl: {chunks - len(done)} of {chunks} chunks have no result")
                continue
            result = recorded.message
            if isinstance(result, Unreadable):
                raise BenchmarkError(f"ttgctl: a result that can't be read: {result.error}")
            done.setdefault(result.chunk_id, Done(result.worker_id, result.finished_at))
            if len(done) == chunks:
                break
    finally:
        observer.close()
    return list(done.values())
