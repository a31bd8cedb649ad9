"""A benchmark's temporary folder, which goes at the end with all processes that were started for it.

Whoever started them may be killed, so neither is left to it: a guard, a process of its own, waits
until the benchmark has ended, however it did, and then clears up. A run on a broker that was there before
is written down with :func:`guard_run` first, and is dropped by the guard as well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.errors import BrokerError
from ttgctl.substrates.local import processes

GRACE_SECONDS: Final = 10.0
_RUN: Final = "run-to-drop"


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


def guard_run(folder: Path, url: str, run_id: str) -> None:
    """Has the queues of this run dropped when the folder goes; the file is for this user's eyes alone."""
    path = folder / _RUN
    path.touch(mode=0o600)
    path.write_text(f"{url}\n{run_id}\n")


def _drop_run(folder: Path) -> None:
    path = folder / _RUN
    if not path.is_file():
        return
    url, run_id = path.read_text().splitlines()
    with suppress(BrokerError), closing(open_broker(url, options=DeliveryOptions())) as broker:
        broker.drop(run_id)


def _guard(folder: Path) -> None:
    sys.stdin.buffer.read()
    # One that was about to start another may have done so meanwhile.
    while left := processes.find_below(folder):
        processes.end(left, grace_seconds=GRACE_SECONDS)
    _drop_run(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]))
