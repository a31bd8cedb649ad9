"""How a worker's settings become its compute process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

from ttg_worker.compute_process import ComputeProcess, Task
from ttg_worker.compute_supervisor import ComputeSupervisor
from ttg_worker.limits import Limits, container_bytes
from ttg_worker.settings import WorkerSettings

# The name under which the local substrate finds a process; what a function starts is no worker.
PROCESS_MARK: Final = "TTG_PROCESS"
COMPUTE: Final = "/compute"


def supervisor(settings: WorkerSettings) -> ComputeSupervisor:
    """Starts the compute process that these settings ask for."""
    task = Task(
        workload=settings.workload,
        chunk_function=settings.chunk_function,
        work_seconds=settings.work_seconds,
        seed=settings.seed,
    )
    environment = environment_for_compute(os.environ, settings)
    python = settings.compute_python or sys.executable
    return ComputeSupervisor(
        lambda: ComputeProcess(task, python=python, environment=environment),
        chunk_function=settings.chunk_function,
        limits=Limits(
            timeout=settings.parameter_timeout,
            memory_bytes=settings.parameter_memory_bytes or container_bytes(),
        ),
    )


def environment_for_compute(environment: Mapping[str, str], settings: WorkerSettings) -> dict[str, str]:
    """The worker's environment without what is for the worker alone, its broker's password above all."""
    kept = {name: value for name, value in environment.items() if name not in settings.to_environment()}
    if PROCESS_MARK in kept:
        kept[PROCESS_MARK] += COMPUTE
    return kept
