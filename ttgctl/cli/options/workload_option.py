"""The workload that a user names: FILE.py:NAME or MODULE:NAME."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Final

import msgspec

from ttg_worker.compute import check
from ttg_worker.errors import WorkloadError
from ttgctl.core.records.run_folder import RunFolder

# On a cluster they travel in a ConfigMap, which holds at most 1 MiB.
FILES_BYTES: Final = 1_000_000
# What takes longer to be loaded would not come to an end at all.
LOAD_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class CheckedWorkload:
    """One that a worker can load. ``reference`` is what a run's specification calls it.

    ``files`` are all that it consists of, by their path beside the first, as they were when they were
    checked; none for a module by name.
    """

    reference: str
    files: Mapping[str, bytes]

    def copy_to(self, run: RunFolder) -> None:
        """Keeps the files in the run's folder, in place of those of an earlier one."""
        shutil.rmtree(run.workload, ignore_errors=True)
        _write(self.files, run.workload)


def check_workload(workload: str, *, python: str | None = None) -> CheckedWorkload:
    """Loads it in a process of its own, from where it is and from a copy of its files alone, as workers get;
    under the interpreter ``python``, or ttgctl's own.

    Raises :class:`WorkloadError` with the reason why it can't be loaded, or can't travel.
    """
    names = _loaded(workload, python, said_of=workload)
    place, _, function = workload.rpartition(":")
    folder = Path(place).absolute().parent
    files = {name: (folder / name).read_bytes() for name in names}
    _check_size(workload, {name: len(content) for name, content in files.items()})
    if not files:
        return CheckedWorkload(reference=workload, files=files)
    reference = f"{names[0]}:{function}"
    with TemporaryDirectory(prefix="ttgctl-") as copy:
        _write(files, Path(copy))
        try:
            _loaded(f"{copy}/{reference}", python, said_of=workload)
        except WorkloadError as error:
            reason = str(error).replace(f"{copy}/", "")
            raise WorkloadError(
                f"{reason} (in a copy with the files that it opened while it was loaded: {', '.join(names)}; "
                "put what else it needs into a package that is installed where the workers are)"
            ) from None
    return CheckedWorkload(reference=reference, files=files)


def _loaded(workload: str, python: str | None, *, said_of: str) -> tuple[str, ...]:
    """Of which files it consists, once it could be loaded."""
    # Files and no pipes: what loading it started and left behind would keep these open.
    with TemporaryFile() as answer, TemporaryFile() as complaint:
        checking = subprocess.Popen(
            # A script's path has no working folder: what only that has would not be there for a worker.
            [python or sys.executable, check.__file__, workload],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=complaint,
            start_new_session=True,
        )
        try:
            code = checking.wait(timeout=LOAD_SECONDS)
        except subprocess.TimeoutExpired:
            raise WorkloadError(
                f"--workload {said_of}: loading it did not end in {LOAD_SECONDS:g} s; what a file does "
                'beside defining things belongs under: if __name__ == "__main__"'
            ) from None
        finally:
            # It, and what loading it started.
            with suppress(ProcessLookupError):
                os.killpg(checking.pid, signal.SIGKILL)
            checking.wait()
        answer.seek(0)
        complaint.seek(0)
        if code != 0:
            lines = complaint.read().decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else f"loading it ended with {_end(code)}"
            raise WorkloadError(f"--workload {said_of}: {why}")
        return msgspec.json.decode(answer.read(), type=tuple[str, ...])


def _end(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)


def _check_size(workload: str, sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    if total > FILES_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        raise WorkloadError(
            f"--workload {workload}: its files have {total:,} bytes and may have {FILES_BYTES:,}; "
            f"the largest: {', '.join(f'{name} ({sizes[name]:,})' for name in largest)}. "
            "Put what is large into a package that is installed where the workers are (see --image)"
        )
