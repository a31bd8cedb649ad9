"""What each kind of fault does to its victim, and what undoes it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ttgctl.core.faults.powers import (
    CutsOffWorkers,
    KillsBrokers,
    KillsWorkers,
    PausesWorkers,
    StopsNodes,
)
from ttgctl.core.ports import Clock, Evidence, Substrate, SubstrateError, WorkerStatus
from ttgctl.domain.faults import FaultSpec
from ttgctl.domain.run import RunSpec

# A slowed worker is stopped once in so long: short against a lease, long against asking a cluster for it.
PULSE_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Act:
    """One fault on one victim. ``begin`` and ``end`` may raise :class:`SubstrateError`.

    ``workers`` are the ids of the workers it hits. ``end`` undoes it, after ``duration_seconds``
    or, if that is None, when the run ends; it says what was seen of the effect, if anything was.
    ``end`` is None for what can't be undone: the substrate replaces the victim. ``slow``: either
    may take seconds.
    """

    victim: str
    workers: frozenset[str]
    begin: Callable[[], Evidence]
    end: Callable[[], str | None] | None = None
    duration_seconds: float | None = None
    slow: bool = False


def act_on_worker(fault: FaultSpec, worker: WorkerStatus, substrate: Substrate) -> Act | None:
    """What a fault of workers does to this one; None where the substrate has no power for it."""
    begin: Callable[[], Evidence]
    end: Callable[[], str | None] | None
    slow = fault.kind != "kill-worker" or substrate.remote
    if fault.kind == "kill-worker" and isinstance(substrate, KillsWorkers):
        killer = substrate
        begin, end = lambda: killer.kill(worker), None
    elif fault.kind == "stop-worker" and isinstance(substrate, PausesWorkers):
        pauser = substrate
        begin, end = lambda: pauser.pause(worker), lambda: pauser.resume(worker)
    elif fault.kind == "partition" and isinstance(substrate, CutsOffWorkers):
        cutter = substrate
        begin, end = lambda: cutter.isolate(worker), lambda: cutter.rejoin(worker)
    elif fault.kind == "slow-worker" and isinstance(substrate, PausesWorkers):
        pulse = Pulse(worker, substrate, factor=fault.factor or 1.0)
        begin, end = pulse.begin, pulse.end
    else:
        return None
    return Act(
        victim=worker.worker_id,
        workers=frozenset([worker.worker_id]),
        begin=begin,
        end=end,
        duration_seconds=fault.duration_seconds,
        slow=slow,
    )


def act_on_node(fault: FaultSpec, node: str, workers: frozenset[str], substrate: StopsNodes) -> Act:
    """``workers`` are those of the run that are on the node."""
    return Act(
        victim=node,
        workers=workers,
        begin=lambda: substrate.stop_node(node),
        end=lambda: substrate.start_node(node),
        duration_seconds=fault.duration_seconds,
        slow=True,
    )


def act_on_broker(fault: FaultSpec, spec: RunSpec, substrate: Substrate, *, clock: Clock) -> Act:
    """What a fault of brokers does to the run's: it is gone at once or in good order, and back after the
    duration."""
    before: list[str | None] = []

    def begin() -> Evidence:
        uid = substrate.broker_uid(spec)
        if uid is None:
            raise SubstrateError("there is no broker of this run's own")
        before.append(uid)
        if fault.kind == "kill-broker":
            if not isinstance(substrate, KillsBrokers):
                raise SubstrateError(f"brokers on {substrate.name} can't be killed")
            return substrate.kill_broker(spec)
        # From the start of the stop on clients may be refused, and a proper stop takes its time.
        at = clock.time()
        substrate.stop_broker(spec)
        # Or it would have said that the broker does not end.
        return Evidence(victim="broker", uid=uid, at=at, method="SIGTERM", effect="process gone")

    def end() -> str | None:
        substrate.start_broker(spec, lambda line: None)
        return "uid changed" if substrate.broker_uid(spec) not in (None, *before) else None

    return Act(
        victim="broker",
        workers=frozenset(),
        begin=begin,
        end=end,
        duration_seconds=fault.duration_seconds,
        slow=True,
    )


class Pulse:
    """Makes a worker ``factor`` times slower: stopped for most of every second."""

    def __init__(self, worker: WorkerStatus, substrate: PausesWorkers, *, factor: float) -> None:
        self._worker = worker
        self._substrate = substrate
        self._stopped_share = 1 - 1 / factor
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow-worker", daemon=True)
        self._began = 0.0
        self._stopped_seconds = 0.0
        self._error: SubstrateError | None = None

    def begin(self) -> Evidence:
        evidence = self._substrate.pause(self._worker)
        self._began = time.monotonic()
        self._thread.start()
        return evidence

    def end(self) -> str | None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._substrate.resume(self._worker)
        if self._error is not None:
            return f"stopped for {self._stopped_seconds:.1f} s in all, until: {self._error}"
        seconds = time.monotonic() - self._began
        return f"stopped for {self._stopped_seconds:.1f} of {seconds:.1f} s"

    def _run(self) -> None:
        """Begins with the worker stopped."""
        stopped_seconds = PULSE_SECONDS * self._stopped_share
        stopped_at = self._began
        try:
            while not self._stop.wait(stopped_seconds):
                self._substrate.resume(self._worker)
                self._stopped_seconds += time.monotonic() - stopped_at
                if self._stop.wait(PULSE_SECONDS - stopped_seconds):
                    return
                self._substrate.pause(self._worker)
                stopped_at = time.monotonic()
            self._stopped_seconds += time.monotonic() - stopped_at
        # The worker is gone, as a worker may be at any time; whoever ends this hears of it.
        except SubstrateError as error:
            self._error = error
