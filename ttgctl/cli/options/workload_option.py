"""The workload that a user names: FILE.py:NAME or MODULE:NAME."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ttg_worker.errors import WorkloadError
from ttgctl.core.records.run_folder import RunFolder

# On a cluster they travel in a ConfigMap, which holds at most 1 MiB.
FILES_BYTES: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class CheckedWorkload:
    """One that a worker can load. ``reference`` is what a run's specification calls it.

    ``files`` are all that it consists of, relative to ``folder``; none for a module by name.
    """

    reference: str
    folder: Path
    files: tuple[str, ...]

    def copy_to(self, run: RunFolder) -> None:
        """Keeps the files as they are now in the run's folder, in place of those of an earlier one."""
        shutil.rmtree(run.workload, ignore_errors=True)
        for name in self.files:
            copy = run.workload / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / name, copy)


def check_workload(workload: str) -> CheckedWorkload:
    """Loads it in a process of its own to be sure.

    Raises :class:`WorkloadError` with the reason why it can't be loaded, or can't travel.
    """
    # -P: what only the working folder has would not be there for a worker.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ttg_worker.workload_check", workload],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"loading it ended with exit code {done.returncode}"]
        raise WorkloadError(f"--workload {workload}: {lines[-1]}")
    files = msgspec.json.decode(done.stdout, type=tuple[str, ...])
    place, _, name = workload.rpartition(":")
    folder = Path(place).absolute().parent
    _check_size(workload, {file: (folder / file).stat().st_size for file in files})
    reference = f"{files[0]}:{name}" if files else workload
    return CheckedWorkload(reference=reference, folder=folder, files=files)


def _check_size(workload: str, sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    if total > FILES_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        raise WorkloadError(
            f"--workload {workload}: its files have {total:,} bytes and may have {FILES_BYTES:,}; "
            f"the largest: {', '.join(f'{name} ({sizes[name]:,})' for name in largest)}. "
            "Put what is large into a package that is installed where the workers are (see --image)"
        )
