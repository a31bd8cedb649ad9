"""``python -m ttg_worker.workload_check FUNCTION``: whether a worker could load this workload.

Exit code 0, or 2 with one line on stderr that says why not. A process of its own, since loading
runs the user's code.
"""

from __future__ import annotations

import sys

from ttg_worker.errors import WorkloadError
from ttg_worker.workload import load


def main() -> int:
    sys.path.insert(0, "")
    try:
        load(sys.argv[1], work_seconds=0.0, fault_rate=0.0, seed=0, chunk_function=False)
    except WorkloadError as error:
        print(error, file=sys.stderr)  # noqa: T201 (its one answer)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
