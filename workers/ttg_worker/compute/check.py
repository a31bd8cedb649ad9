"""``python check.py FUNCTION``: whether a compute process could load this workload, and what it consists of.

Exit code 0 with a JSON list of its files on stdout, relative to the folder of the first, which is
FUNCTION's own: the modules of that folder that it imports, and what it reads there while it is loaded; empty
for a module by name. Or 2 with one line on stderr that says why not. A process of its own, since loading
runs the user's code, under the interpreter that is to compute.
"""

from __future__ import annotations

import sys

# As in main.py: this package alone is needed, and beside it lie modules with names of the library's.
_HERE = __file__.rpartition("/")[0]
_ROOT = __file__.rsplit("/", 3)[0]
sys.path[:] = [_ROOT, *(path for path in sys.path if path != _HERE)]

import json  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ttg_worker.compute.functions import FunctionError, load  # noqa: E402
from ttg_worker.compute.workload_files import workload_files  # noqa: E402

sys.path.remove(_ROOT)


def main() -> int:
    reference = sys.argv[1]
    answer, complaint = os.dup(1), os.dup(2)
    # What the user's code prints while it is imported is not the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    before = set(sys.modules)
    opened: list[Path] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            opened.append(Path(arguments[0]))

    sys.addaudithook(watch)
    try:
        load(reference)
    except FunctionError as error:
        os.write(complaint, f"{error}\n".encode("utf-8", "backslashreplace"))
        return 2
    read = list(opened)
    place = reference.rpartition(":")[0]
    files: list[Path] = []
    if place.endswith(".py"):
        loaded = [module for name, module in list(sys.modules.items()) if name not in before]
        files = workload_files(Path(place), loaded, read)
    os.write(answer, json.dumps([path.as_posix() for path in files]).encode())
    return 0


if __name__ == "__main__":
    # Threads that the import left behind must not keep it.
    os._exit(main())
