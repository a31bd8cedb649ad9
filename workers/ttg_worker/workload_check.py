"""``python -P -m ttg_worker.workload_check FUNCTION``: whether a worker could load this workload, and
of which files it consists.

Exit code 0 with a JSON list of the files on stdout, relative to the folder of the first, which is
FUNCTION's own; empty for a module by name. Or 2 with one line on stderr that says why not. A
process of its own, since loading runs the user's code.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from ttg_worker.errors import WorkloadError
from ttg_worker.workload import load
from ttg_worker.workload_files import workload_files


def main() -> int:
    reference = sys.argv[1]
    answer = os.dup(1)
    # What the user's code prints while it is imported is not the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    before = set(sys.modules)
    try:
        load(reference, work_seconds=0.0, fault_rate=0.0, seed=0, chunk_function=False)
    except WorkloadError as error:
        print(error, file=sys.stderr)  # noqa: T201 (its one answer)
        return 2
    place = reference.rpartition(":")[0]
    files: list[Path] = []
    if place.endswith(".py"):
        loaded = [module for name, module in list(sys.modules.items()) if name not in before]
        files = workload_files(Path(place), loaded)
    os.write(answer, msgspec.json.encode([path.as_posix() for path in files]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
