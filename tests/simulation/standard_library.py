"""``threading``, ``time``, ``queue`` and futures over the scheduler, and the modules that get them."""

from __future__ import annotations

import importlib
import queue as real_queue
import threading as real_threading
import time as real_time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from simulation.scheduler import Scheduler, Task

# Every module of which a thread waits, looks at a clock, or starts another. What is not here works with
# files, or decides nothing by time.
MODULES: Final = (
    "ttgctl.core.faults.acts",
    "ttgctl.core.faults.background",
    "ttgctl.core.run.broker_supervisor",
    "ttgctl.core.run.phases",
    "ttgctl.core.run.publishing",
    "ttgctl.core.run.queue_watch",
    "ttgctl.core.run.worker_watch",
    "ttg_worker.backoff",
    "ttg_worker.brokers.attempts",
    "ttg_worker.brokers.tail",
    "ttg_worker.heartbeat",
    "ttg_worker.job",
    "ttg_worker.worker",
    "support.fake_compute",
    "support.memory_broker",
)
# The scheduler of the run that goes on: modules are given these names once, runs come one after another.
_current: list[Scheduler] = []


def scheduler() -> Scheduler:
    return _current[-1]


class Lock:
    def __init__(self) -> None:
        self._holder: Task | None = None
        self._depth = 0
        self._waiting: deque[Task] = deque()

    def acquire(self) -> bool:
        me = scheduler().current
        if me is None:
            return True
        while self._holder is not None and self._holder is not me:
            self._waiting.append(me)
            scheduler().block()
        self._holder = me
        self._depth += 1
        return True

    def release(self) -> None:
        if self._depth:
            self._depth -= 1
        if not self._depth:
            self._holder = None
            if self._waiting:
                scheduler().wake(self._waiting.popleft())

    def let_go(self) -> int:
        depth, self._depth = self._depth, 0
        if depth:
            self._depth = 1
            self.release()
        return depth

    def take_back(self, depth: int) -> None:
        self.acquire()
        self._depth = max(1, depth)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Condition:
    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = Lock() if lock is None else lock
        self._waiting: list[Task] = []

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        me = scheduler().current
        assert me is not None
        self._waiting.append(me)
        depth = self._lock.let_go()
        woken = scheduler().block(timeout)
        if me in self._waiting:
            self._waiting.remove(me)
        self._lock.take_back(depth)
        return woken

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        until = None if timeout is None else scheduler().monotonic() + timeout
        while not (result := predicate()):
            left = None if until is None else until - scheduler().monotonic()
            if left is not None and left <= 0:
                return predicate()
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        woken, self._waiting = self._waiting[:n], self._waiting[n:]
        for task in woken:
            scheduler().wake(task)

    def notify_all(self) -> None:
        self.notify(len(self._waiting))


class Event:
    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for task in self._waiting:
            scheduler().wake(task)
        self._waiting.clear()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        me = scheduler().current
        if not self._set and me is not None:
            self._waiting.append(me)
            scheduler().block(timeout)
            if me in self._waiting:
                self._waiting.remove(me)
        return self._set


class Thread:
    def __init__(
        self, target: Callable[..., Any], args: tuple[Any, ...] = (), *, name: str = "", daemon: bool = True
    ) -> None:
        self._function = lambda: target(*args)
        self._name = name
        self._task: Task | None = None

    @property
    def ident(self) -> int | None:
        return None if self._task is None else id(self._task)

    def start(self) -> None:
        self._task = scheduler().spawn(self._function, name=self._name)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.done

    def join(self, timeout: float | None = None) -> None:
        if self.is_alive():
            task, me = self._task, scheduler().current
            assert task is not None
            assert me is not None
            task.joined_by.append(me)
            scheduler().block(timeout)
            if me in task.joined_by:
                task.joined_by.remove(me)


class Threading:
    Thread, Event, Lock, RLock, Condition = Thread, Event, Lock, Lock, Condition

    def __getattr__(self, name: str) -> Any:
        return getattr(real_threading, name)


class Time:
    def time(self) -> float:
        return scheduler().time()

    def monotonic(self) -> float:
        return scheduler().monotonic()

    def sleep(self, seconds: float) -> None:
        scheduler().sleep(seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(real_time, name)


class SimpleQueue:
    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._there = Event()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._there.set()

    def get(self, timeout: float | None = None) -> Any:
        while not self._items:
            self._there.clear()
            if not self._there.wait(timeout) and timeout is not None:
                raise real_queue.Empty
        return self._items.popleft()


class Queue:
    SimpleQueue, Empty = SimpleQueue, real_queue.Empty

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


class Future:
    def __init__(self) -> None:
        self._done = Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def __class_getitem__(cls, item: Any) -> Any:
        return cls

    def set_result(self, result: Any) -> None:
        self._result = result
        self._done.set()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def done(self) -> bool:
        return self._done.is_set()

    def exception(self) -> BaseException | None:
        self._done.wait()
        return self._error

    def result(self) -> Any:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


SHIMS: Final = {"threading": Threading(), "time": Time(), "queue": Queue, "Future": Future}


# See :class:`ttgctl.core.ports.Clock`.
Clock: Final = Time


@contextmanager
def replaced() -> Iterator[None]:
    """The modules have the scheduler's names for as long as this lasts."""
    before = []
    for path in MODULES:
        module = importlib.import_module(path)
        for name, shim in SHIMS.items():
            if hasattr(module, name) and (name != "Future" or path.endswith("background")):
                before.append((module, name, getattr(module, name)))
                setattr(module, name, shim)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextmanager
def scheduled(seed: int) -> Iterator[Scheduler]:
    """A scheduler of its own for what happens inside."""
    _current.append(Scheduler(seed))
    try:
        yield _current[-1]
    finally:
        _current[-1].close()
        _current.pop()
