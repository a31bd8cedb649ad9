"""From a run to the settings of its workers; the same on every substrate."""

from __future__ import annotations

from ttg_worker.settings import WorkerSettings
from ttgctl.core.faults.chunk_faults import chunk_faults
from ttgctl.core.records.run_folder import WORKLOAD
from ttgctl.domain.run import RunSpec


def worker_settings(
    spec: RunSpec, *, broker_url: str, worker_id: str, input_folder: str, idle_exit_seconds: float
) -> WorkerSettings:
    """``input_folder`` is where the worker finds the run's ``input/``, as a path of its own."""
    planned = chunk_faults(spec)
    workload = spec.workload
    if spec.workload_file is not None:
        workload = f"{input_folder}/{WORKLOAD}/{workload}"
    return WorkerSettings(
        broker_url=broker_url,
        run_id=spec.run_id,
        worker_id=worker_id,
        workload=workload,
        chunk_function=spec.chunk_function,
        compute_python=spec.python or "",
        work_seconds=spec.work_ms / 1000,
        parameter_timeout=spec.parameter_timeout,
        parameter_memory_bytes=spec.parameter_memory_bytes,
        fault_rate=planned.error_rate,
        seed=spec.seed,
        poison=planned.poison,
        corrupt=planned.corrupt,
        delivery=spec.delivery,
        idle_exit_seconds=idle_exit_seconds,
        unsafe_ack_early=spec.unsafe_ack_early,
    )
