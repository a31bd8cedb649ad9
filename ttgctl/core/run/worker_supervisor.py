"""Keeps a run's workers running, and tells who went and who came."""

from __future__ import annotations

from collections.abc import Iterator

from ttgctl.core.ports import BrokerEndpoint, Clock, Substrate, WorkerStatus
from ttgctl.domain.events import Level, Notice
from ttgctl.domain.run import RunSpec


class WorkerSupervisor:
    """``workers`` are those that :meth:`supervise` saw last."""

    def __init__(self, spec: RunSpec, substrate: Substrate, *, clock: Clock) -> None:
        self._spec = spec
        self._substrate = substrate
        self._clock = clock
        self._met: set[str] = set()
        self.workers: list[WorkerStatus] = []

    @property
    def awaited(self) -> bool:
        """Whether one of the workers that the run began with has not been heard of yet."""
        return len(self._met) < self._spec.workers or any(w.awaited for w in self.workers)

    def supervise(self, endpoint: BrokerEndpoint) -> Iterator[Notice]:
        """Replaces those that died; tells of changes, but not of the first ones that come."""
        before = {w.uid: w for w in self.workers if w.running}
        self._substrate.start_workers(self._spec, endpoint)
        self.workers = self._substrate.workers(self._spec.run_id)
        self._met |= {w.uid for w in self.workers}
        running = {w.uid: w for w in self.workers if w.running}
        if not before:
            return
        for uid in before.keys() - running.keys():
            yield self._notice("warning", f"{before[uid].worker_id} is gone")
        for uid in running.keys() - before.keys():
            yield self._notice("info", f"{running[uid].worker_id} started")

    def _notice(self, level: Level, message: str) -> Notice:
        return Notice(at=self._clock.time(), level=level, message=message)
