"""Some of a run's parameters, computed here as a worker would, before anything is started."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from ttg_worker.brokers.base import Delivery
from ttg_worker.compute_settings import supervisor
from ttg_worker.job import Job
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.records.run_folder import WORKLOAD
from ttgctl.core.run.publishing import chunk_of
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.worker_settings import worker_settings

# Whoever asks what would happen does not want to wait for it to happen.
PATIENCE_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Tried:
    """One parameter. ``size`` is of its value in bytes; ``error`` is None where it has one. Neither: it was
    not done in time."""

    index: int
    seconds: float
    size: int | None
    error: str | None


def try_out(spec: RunSpec, source: ParameterSource, files: Mapping[str, bytes], *, count: int) -> list[Tried]:
    """Computes ``count`` parameters, the first and the last among them; leaves nothing behind.

    ``files`` are those of the workload, by their path. Raises :class:`WorkloadError` where the function
    can't be loaded.
    """
    with TemporaryDirectory(prefix="ttgctl-") as folder:
        for name, content in files.items():
            path = Path(folder) / WORKLOAD / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        settings = worker_settings(
            spec, broker_url="static:///", worker_id="try", input_folder=folder, idle_exit_seconds=0.0
        )
        compute = supervisor(settings)
        try:
            alone = replace(spec, chunk_size=1)
            until = time.monotonic() + PATIENCE_SECONDS
            tried = []
            for index in _spread(spec.parameters_total, count):
                job = Job(Delivery(chunk_of(alone, source, index), 1, 0, None))
                compute.put([job])
                while not (done := compute.finished(WAIT_SECONDS)) and time.monotonic() < until:
                    pass
                tried.append(
                    _tried(index, job) if done else Tried(index, compute.seconds_in_hand, None, None)
                )
                if not done:
                    break
            return tried
        finally:
            compute.close()


def _spread(total: int, count: int) -> list[int]:
    if count == 1 or total == 1:
        return [0]
    most = min(total, count) - 1
    return sorted({number * (total - 1) // most for number in range(most + 1)})


def _tried(index: int, job: Job) -> Tried:
    if job.errors:
        error = job.errors[0]
        last = error.text.strip().splitlines()[-1:] or [error.kind]
        return Tried(index, job.seconds, None, last[0])
    return Tried(index, job.seconds, sum(len(result.values) for result in job.results("try")), None)
