"""Knows a run's workers, and tells who went, who came, and what keeps one from running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ttgctl.core.ports import BrokerEndpoint, Clock, Substrate, WorkerStatus
from ttgctl.core.run.worker_watch import WorkerWatch
from ttgctl.domain.events import Level, Notice
from ttgctl.domain.run import RunSpec

# A list of the workers that is older tells nothing of what has become of them.
STALE_SECONDS: Final = 3.0


class WorkerSupervisor:
    """``workers`` are those of the newest list that :meth:`supervise` took in."""

    def __init__(
        self, spec: RunSpec, substrate: Substrate, endpoint: BrokerEndpoint, *, clock: Clock
    ) -> None:
        self._spec = spec
        self._substrate = substrate
        self._clock = clock
        self._watch = WorkerWatch(spec, substrate, endpoint, clock=clock)
        self._met: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._away_since: float | None = None
        self.workers: list[WorkerStatus] = []

    def start(self) -> None:
        self._watch.start()

    def stop(self) -> None:
        """No worker is started any more when this returns. Idempotent."""
        self._watch.stop()

    @property
    def awaited(self) -> bool:
        """Whether one of the workers that the run began with has not been heard of yet."""
        return len(self._met) < self._spec.workers or any(w.awaited for w in self.workers)

    @property
    def age_seconds(self) -> float:
        """How old the list of workers is."""
        return self._watch.age_seconds

    @property
    def out_of_sight(self) -> bool:
        """Whether nobody can know which of them live."""
        return self._substrate.away is not None or self.age_seconds > STALE_SECONDS

    def supervise(self) -> Iterator[Notice]:
        """Takes in the newest list; tells of changes, but not of the first ones that come.

        Raises what ended the watch, such as a control plane that stays away.
        """
        if self._watch.failure is not None:
            raise self._watch.failure
        yield from self._tell_of_absence()
        before = {w.uid: w for w in self.workers if w.running}
        self.workers = self._watch.workers
        self._met |= {w.uid for w in self.workers}
        yield from self._tell_of_troubles()
        running = {w.uid: w for w in self.workers if w.running}
        if not before:
            return
        for uid in before.keys() - running.keys():
            yield self._notice("warning", f"{before[uid].worker_id} is gone")
        for uid in running.keys() - before.keys():
            yield self._notice("info", f"{running[uid].worker_id} started")

    def _tell_of_absence(self) -> Iterator[Notice]:
        away, now = self._substrate.away, self._clock.monotonic()
        if away is not None and self._away_since is None:
            self._away_since = now
            yield self._notice("warning", f"{away}; the run goes on, what is known of its workers grows old")
        elif away is None and self._away_since is not None:
            seconds, self._away_since = now - self._away_since, None
            yield self._notice("info", f"{self._substrate.name} answers again after {seconds:.1f} s")

    def _tell_of_troubles(self) -> Iterator[Notice]:
        before, self._troubles = self._troubles, {w.uid: w.trouble for w in self.workers if w.trouble}
        for worker in self.workers:
            if worker.trouble and before.get(worker.uid) != worker.trouble:
                yield self._notice("warning", f"{worker.worker_id}: {worker.trouble}")

    def _notice(self, level: Level, message: str) -> Notice:
        return Notice(at=self._clock.time(), level=level, message=message)
