"""One scheduler, one clock: threads become steps, and the seed decides whose step is next."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from greenlet import GreenletExit, getcurrent, greenlet

# What a step takes: little, but never nothing, or whoever waits by looking at the clock would wait for ever.
STEP_SECONDS: Final = (20e-6, 200e-6)
LOOK_SECONDS: Final = 1e-6
# So long a run of seconds may take in virtual time before it counts as one without end.
END_SECONDS: Final = 3600.0


class EndlessWait(Exception):
    """Everybody waits for somebody, or nobody ever comes to an end."""


@dataclass
class Process:
    """Whose threads stop when it dies. ``ahead_seconds`` is how far its clock is wrong."""

    name: str
    ahead_seconds: float = 0.0
    alive: bool = True
    paused: bool = False
    parked: list[Task] = field(default_factory=list)


class Task:
    """A thread, as a greenlet. ``error`` is what it ended with."""

    def __init__(self, function: Callable[[], Any], *, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.done = False
        self.error: BaseException | None = None
        self.joined_by: list[Task] = []
        self.turn = 0
        self.woken = False
        self._function = function
        self.greenlet = greenlet(self._run)

    def _run(self) -> None:
        try:
            self._function()
        except GreenletExit:
            pass
        except BaseException as error:
            self.error = error
        self.done = True


class Scheduler:
    """``now`` is virtual seconds since its beginning, at Unix time ``began_at``."""

    def __init__(self, seed: int, *, began_at: float = 1_700_000_000.0) -> None:
        self.random = random.Random(seed)
        self.began_at = began_at
        self.now = 0.0
        self.steps = 0
        self.over = False
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Task, int]] = []
        self._number = 0
        self._hub: Any = None

    def spawn(self, function: Callable[[], Any], *, name: str, process: Process | None = None) -> Task:
        """Of the process that asks for it, if none is given."""
        if process is None:
            assert self.current is not None
            process = self.current.process
        task = Task(function, name=name, process=process)
        self.tasks.append(task)
        self._ready.append(task)
        return task

    def run(self, until: Task) -> None:
        """Goes on until this task has ended. Raises :class:`EndlessWait`."""
        self._hub = getcurrent()
        while not until.done:
            task = self._next()
            if not task.process.alive:
                continue
            if task.process.paused:
                task.process.parked.append(task)
                continue
            self.steps += 1
            self.now += self.random.uniform(*STEP_SECONDS)
            self.current = task
            # Where it goes when it ends; else that would be whoever began it.
            task.greenlet.parent = self._hub
            task.greenlet.switch()
            self.current = None
            if task.done:
                for waiting in task.joined_by:
                    self.wake(waiting)

    def _next(self) -> Task:
        while True:
            if self._timers and (not self._ready or self._timers[0][0] <= self.now):
                at, _, task, turn = heapq.heappop(self._timers)
                if task.turn == turn and not task.done:
                    self.now = max(self.now, at)
                    task.turn += 1
                    self._ready.append(task)
                continue
            if not self._ready:
                raise EndlessWait(f"nobody has anything to do: {self.waiting}")
            if self.now > END_SECONDS:
                raise EndlessWait(f"after {END_SECONDS:g} s: {self.waiting}")
            place = int(self.random.random() * len(self._ready))
            self._ready[place], self._ready[-1] = self._ready[-1], self._ready[place]
            return self._ready.pop()

    @property
    def waiting(self) -> str:
        return ", ".join(f"{t.process.name}/{t.name}" for t in self.tasks if not t.done and t.process.alive)

    # For whoever is a task.

    def sleep(self, seconds: float) -> None:
        self.block(max(0.0, seconds))

    def block(self, seconds: float | None = None) -> bool:
        """Until woken, or so long; whether it was woken."""
        if self.over or self.current is None:
            raise GreenletExit
        task = self.current
        task.woken = False
        task.turn += 1
        if seconds is not None:
            self._number += 1
            heapq.heappush(self._timers, (self.now + seconds, self._number, task, task.turn))
        self._hub.switch()
        if self.over:
            raise GreenletExit
        return task.woken

    def wake(self, task: Task) -> None:
        """Ends its :meth:`block`; nothing where it has ended already."""
        if task.done or task.woken or task is self.current:
            return
        task.woken = True
        task.turn += 1
        self._ready.append(task)

    def let_others(self) -> None:
        """A place where another may come first, which the seed decides."""
        if self.random.random() < 0.1:
            self.sleep(0.0)

    def resume(self, process: Process) -> None:
        process.paused = False
        self._ready.extend(process.parked)
        process.parked.clear()

    def monotonic(self) -> float:
        self.now += LOOK_SECONDS
        return self.now

    def time(self) -> float:
        ahead = 0.0 if self.current is None else self.current.process.ahead_seconds
        return self.began_at + self.monotonic() + ahead

    def close(self) -> None:
        """Ends what is left, whose ``finally`` may do nothing that waits any more."""
        self.over = True
        for task in self.tasks:
            if not task.done and task.greenlet:
                task.greenlet.throw(GreenletExit)
