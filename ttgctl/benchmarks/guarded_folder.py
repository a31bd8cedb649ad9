"""A benchmark's temporary folder, which goes at the end with all processes that were started for it.

Whoever started them may be killed, so neither is left to it: a guard, a process of its own, waits
until the benchmark has ended, however it did, and then clears up.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttgctl.substrates.local import processes

GRACE_SECONDS = 10.0


@contextmanager
def guarded_folder(*, prefix: str) -> Iterator[Path]:
    """The folder. What was spawned for a folder below it has ended when this returns."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    # A session of its own: a Ctrl-C is not for it. It sees our end at the end of its stdin.
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        guard.communicate()


def _guard(folder: Path) -> None:
    sys.stdin.buffer.read()
    # One that was about to start another may have done so meanwhile.
    while left := processes.find_below(folder):
        processes.end(left, grace_seconds=GRACE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
