"""Keeps a compute process at work, whatever the function does to it, and knows what it is at."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ttg_worker.brokers.base import Delivery
from ttg_worker.compute_process import ComputeProcess, Death
from ttg_worker.errors import WorkloadError
from ttg_worker.job import Job
from ttg_worker.limits import Limits, container_limit_bytes, oom_kills, size

log = logging.getLogger(__name__)

# After SIGTERM, until SIGKILL.
GRACE_SECONDS: Final = 2.0
# A process that dies before it begins anything is tried so often, with pauses that double from the first.
IDLE_DEATHS_MOST: Final = 8
FIRST_PAUSE_SECONDS: Final = 0.05
# With many assignments on their way it is cheaper to look now and then than to be woken at each.
MANY: Final = 8
LOOK_SECONDS: Final = 0.002
# How lines of the ring begin that are no value, see :mod:`ttg_worker.compute.ring`.
_MARKS: Final = frozenset((b"<", b"@", b"~", b"=", b"?", b"!"))


@dataclass(slots=True)
class _Stretch:
    """Positions of a job that are computed as one assignment; ``done`` counts those with an outcome."""

    job: Job
    first: int
    stop: int
    done: int = 0


@dataclass(frozen=True, slots=True)
class _Ending:
    """A process that is being ended because of what it has in hand."""

    serial: int
    position: int
    kind: str
    text: str
    kill_at: float


class ComputeSupervisor:
    """Computes jobs in the order given. ``start`` makes a new compute process.

    What a death costs is the parameter in hand; the rest goes on in the next process. Raises
    :class:`WorkloadError` where the function can't be loaded.
    """

    def __init__(
        self, start: Callable[[], ComputeProcess], *, chunk_function: bool = False, limits: Limits
    ) -> None:
        self._start = start
        self._whole = chunk_function
        self._limits = limits
        self._serial = 0
        self._stretches: dict[int, _Stretch] = {}
        self._finished: deque[Job] = deque()
        self._seconds = 0.0
        self._loaded_once = False
        self._idle_deaths = 0
        self._restart_at = 0.0
        self._ending: _Ending | None = None
        self._in_hand = (0, 0)
        self._in_hand_since = time.monotonic()
        self._memory_at = 0.0
        self._oom_kills = oom_kills()
        self._process: ComputeProcess | None = start()
        self._loaded = False

    @property
    def in_flight(self) -> int:
        """How many assignments have no outcome yet."""
        return len(self._stretches)

    @property
    def in_hand(self) -> tuple[Job, int] | None:
        """The job in hand, and the position of its parameter that is being computed."""
        serial, position = self._in_hand
        stretch = self._stretches.get(serial)
        return None if stretch is None else (stretch.job, stretch.first + position)

    @property
    def seconds_in_hand(self) -> float:
        """How long this parameter has been in hand; 0 where there is none."""
        return time.monotonic() - self._in_hand_since if self._in_hand[0] in self._stretches else 0.0

    def put(self, jobs: Sequence[Job]) -> None:
        """To be computed after those before."""
        self._assign([_Stretch(job, 0, job.size) for job in jobs])

    def _assign(self, stretches: Sequence[_Stretch]) -> None:
        assignments = []
        for stretch in stretches:
            self._serial += 1
            self._stretches[self._serial] = stretch
            assignments.append(stretch.job.assignment(self._serial, stretch.first, stretch.stop))
        if self._process is not None and assignments:
            self._process.assign(assignments)

    def give_back(self) -> list[Delivery]:
        """Deliveries of jobs that are not begun; they are this supervisor's no more."""
        if self._process is None or len(self._stretches) < 2:
            return []
        self._process.pass_over(self._serial)
        serial, _ = self._process.in_hand
        passed_over = [each for each in self._stretches if each > serial]
        stretches = [self._stretches.pop(each) for each in passed_over]
        # Of a job that was begun the rest comes next.
        self._assign([stretch for stretch in stretches if stretch.job.is_begun])
        return [stretch.job.delivery for stretch in stretches if not stretch.job.is_begun]

    def abandon(self) -> list[Delivery]:
        """Ends the compute process; returns the deliveries of all jobs that are not finished."""
        deliveries = {id(s.job): s.job.delivery for s in self._stretches.values()}
        self._stretches.clear()
        self.close()
        return list(deliveries.values())

    def close(self) -> None:
        """Ends the compute process and all that it started."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def finished(self, wait_seconds: float) -> list[Job]:
        """Jobs of which each parameter has an outcome; waits for the first up to ``wait_seconds``."""
        self._look()
        if not self._finished and wait_seconds > 0:
            self._wait(wait_seconds)
            self._look()
        finished = list(self._finished)
        self._finished.clear()
        return finished

    def _wait(self, seconds: float) -> None:
        if self._process is None:
            time.sleep(min(seconds, max(0.0, self._restart_at - time.monotonic())))
        elif len(self._stretches) > MANY:
            self._process.wait(min(seconds, LOOK_SECONDS), for_lines=False)
        else:
            every = self._limits.memory_every_seconds
            self._process.wait(seconds if every is None else min(seconds, every))

    def _look(self) -> None:
        process = self._process
        if process is None:
            if time.monotonic() >= self._restart_at:
                self._restart()
            return
        death = process.death()
        lines = process.lines()
        if self._ending is None:
            self._read(lines)
            in_hand = process.in_hand
            if in_hand != self._in_hand:
                self._in_hand, self._in_hand_since = in_hand, time.monotonic()
        if death is not None:
            self._died(process, death)
        elif self._ending is None:
            self._enforce_limits(process)
        elif time.monotonic() >= self._ending.kill_at:
            self._died(process, Death(self._ending.kind, self._ending.text))

    def _read(self, lines: Sequence[bytes]) -> None:
        stretch = self._oldest
        for line in lines:
            mark = line[:1]
            if mark not in _MARKS and stretch is not None:
                seconds, self._seconds = self._seconds, 0.0
                stretch.job.succeeded(stretch.first + stretch.done, line, seconds)
                stretch.done += 1
                if seconds:
                    self._limits.took(seconds)
            elif mark == b"<":
                self._ended(line)
                stretch = self._oldest
            elif mark == b"@":
                self._seconds = float(line[1:])
            elif mark == b"~":
                passed_over = self._stretches.pop(int(line[1:]), None)
                # Not one that was given away, but the one that was about to be begun then.
                if passed_over is not None:
                    self._assign([passed_over])
                stretch = self._oldest
            elif mark == b"=":
                self._loaded = self._loaded_once = True
                self._in_hand_since = time.monotonic()
            elif mark == b"?":
                raise WorkloadError(msgspec.json.decode(line[1:], type=str))
            elif mark == b"!" and stretch is not None:
                self._seconds = 0.0
                self._fail(stretch, *msgspec.json.decode(line[1:], type=tuple[str, str]))

    @property
    def _oldest(self) -> _Stretch | None:
        return next(iter(self._stretches.values()), None)

    def _fail(self, stretch: _Stretch, kind: str, text: str) -> None:
        """The next parameter of the stretch failed; for a chunk function, something of the stretch did."""
        size = stretch.stop - stretch.first
        if self._whole and size > 1:
            middle = stretch.first + size // 2
            self._assign(
                [_Stretch(stretch.job, stretch.first, middle), _Stretch(stretch.job, middle, stretch.stop)]
            )
            stretch.stop = stretch.first
            return
        stretch.job.failed(stretch.first + stretch.done, kind, text)
        stretch.done += 1

    def _ended(self, line: bytes) -> None:
        serial = next(iter(self._stretches), None)
        if serial is not None:
            job = self._stretches.pop(serial).job
            started_at, _, seconds = line[1:].partition(b" ")
            job.ran(float(started_at), float(seconds))
            self._idle_deaths = 0
            self._finish(job)

    def _finish(self, job: Job) -> None:
        if not job.left:
            self._finished.append(job)

    def _enforce_limits(self, process: ComputeProcess) -> None:
        now = time.monotonic()
        if self._in_hand[0] not in self._stretches or not self._loaded:
            return
        stretch = self._stretches[self._in_hand[0]]
        parameters = stretch.stop - stretch.first if self._whole else 1
        exceeded = self._limits.too_long(now - self._in_hand_since, parameters=parameters)
        every = self._limits.memory_every_seconds
        if exceeded is None and every is not None and now >= self._memory_at:
            self._memory_at = now + every
            exceeded = self._limits.too_much(process.memory_bytes())
        if exceeded is not None:
            kind, text = exceeded
            self._ending = _Ending(*self._in_hand, kind, text, now + GRACE_SECONDS)
            process.terminate()

    def _died(self, process: ComputeProcess, death: Death) -> None:
        ending, self._ending = self._ending, None
        if ending is not None:
            death = Death(ending.kind, ending.text)
        elif death.kind == "SIGKILL" and oom_kills() > self._oom_kills:
            limit = container_limit_bytes()
            of = f" of {size(limit)}" if limit else ""
            death = Death("memory", f"out of memory: the kernel ended it in a container{of}")
        serial, position = (ending.serial, ending.position) if ending is not None else process.in_hand
        process.end()
        self._process = None
        left, self._stretches = self._stretches, {}
        guilty = left.pop(serial, None) if self._loaded else None
        if guilty is None and not self._loaded_once:
            raise WorkloadError(f"loading the workload ended its process: {death.text.splitlines()[-1]}")
        rest: list[_Stretch] = []
        if guilty is not None:
            self._idle_deaths = 0
            rest = self._rest_of(guilty, position, death)
        else:
            self._idle_deaths += 1
            if self._idle_deaths > IDLE_DEATHS_MOST:
                raise WorkloadError(f"the compute process ends before it begins anything: {death.text}")
            self._restart_at = time.monotonic() + FIRST_PAUSE_SECONDS * 2**self._idle_deaths
        log.warning("the compute process ended: %s", death.text.splitlines()[-1])
        self._assign([*rest, *left.values()])
        if time.monotonic() >= self._restart_at:
            self._restart()

    def _rest_of(self, guilty: _Stretch, position: int, death: Death) -> list[_Stretch]:
        """What is left to compute of the stretch in which the process died."""
        before = set(self._stretches)
        # Its outcome may have come before the death did: then nothing was in hand.
        if self._whole or position >= guilty.done:
            self._fail(guilty, death.kind, death.text)
        halves = [self._stretches.pop(serial) for serial in set(self._stretches) - before]
        first = guilty.first + guilty.done
        if first < guilty.stop:
            return [_Stretch(guilty.job, first, guilty.stop)]
        self._finish(guilty.job)
        return sorted(halves, key=lambda half: half.first)

    def _restart(self) -> None:
        self._loaded = False
        self._in_hand = (0, 0)
        self._oom_kills = oom_kills()
        self._process = self._start()
        stretches, self._stretches = list(self._stretches.values()), {}
        self._assign(stretches)
