"""What takes seconds, done beside everything else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def submit(action: Callable[[], T], *, background: bool) -> Future[T]:
    """Runs ``action``; in a daemon thread, so that a second Ctrl-C need not wait for it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        # It is raised again where the result is asked for.
        except BaseException as error:
            future.set_exception(error)

    if background:
        threading.Thread(target=run, name="fault", daemon=True).start()
    else:
        run()
    return future
