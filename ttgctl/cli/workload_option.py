"""The workload that a user names: FILE.py:NAME or MODULE:NAME."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ttg_worker.errors import WorkloadError


def check_workload(workload: str) -> Path | None:
    """The workload's file, None for a module; loads it in a process of its own to be sure.

    Raises :class:`WorkloadError` with the reason why it can't be loaded.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ttg_worker.workload_check", workload],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"loading it ended with exit code {done.returncode}"]
        raise WorkloadError(f"--workload {workload}: {lines[-1]}")
    path, _, _ = workload.rpartition(":")
    return Path(path) if path.endswith(".py") else None


def name_in_input(workload: str, file: Path | None) -> str:
    """The workload as a run's specification has it, whose file is a copy in the run's ``input/``."""
    return workload if file is None else f"{file.name}:{workload.rpartition(':')[2]}"
