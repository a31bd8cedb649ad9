"""Long steps that tell of themselves: run in a thread, their lines come out as events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

from ttgctl.core.ports import Clock, Say
from ttgctl.domain.events import Phase

T = TypeVar("T")


def in_phase(name: str, step: Callable[[Say], T], *, clock: Clock) -> Generator[Phase, None, T]:
    """Runs ``step``, yields a :class:`Phase` a line that it says and one at its end.

    Returns what the step returns and raises what it raises. A step that says nothing and is
    done at once is not worth a line, and yields none.
    """
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    returned: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(step(lines.put))
        # Raised again in the caller's thread, below.
        except BaseException as error:
            raised.append(error)
        finally:
            lines.put(None)

    started = clock.monotonic()
    # A daemon, so that a second Ctrl-C need not wait for it.
    threading.Thread(target=run, name=name, daemon=True).start()
    last = ""
    while (line := lines.get()) is not None:
        last = line
        yield Phase(at=clock.time(), name=name, detail=line)
    if raised:
        raise raised[0]
    seconds = clock.monotonic() - started
    if last or seconds > 0.5:
        yield Phase(at=clock.time(), name=name, detail=last, seconds=round(seconds, 3))
    return returned[0]
