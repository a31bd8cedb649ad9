"""Times of workers' clocks, brought to this machine's clock by when their words arrive."""

from __future__ import annotations

from typing import Final

import msgspec

from ttg_worker.wire import ChunkResult, Heartbeat

# A difference below this is the way of a message and no clock that goes wrong.
AGREED_SECONDS: Final = 0.05


class WorkerClocks:
    """A worker's clock may be wrong by hours. What is learnt of it is how far its times lie before their
    arrival here, at the least: the quickest message so far says it best."""

    def __init__(self) -> None:
        self._behind: dict[str, float] = {}

    def hear(self, worker_id: str, said_at: float, *, now: float) -> float:
        """The time here at which the worker said something; ``said_at`` is by its own clock, ``now`` is when
        it arrived. Never later than ``now``."""
        behind = now - said_at
        known = self._behind.get(worker_id)
        if known is None or behind < known:
            self._behind[worker_id] = known = behind
        return said_at if abs(known) < AGREED_SECONDS and said_at <= now else min(now, said_at + known)

    def heartbeat(self, heartbeat: Heartbeat, *, now: float) -> Heartbeat:
        """The heartbeat with its time by the clock of this machine."""
        at = self.hear(heartbeat.worker_id, heartbeat.at, now=now)
        return heartbeat if at == heartbeat.at else msgspec.structs.replace(heartbeat, at=at)

    def result(self, result: ChunkResult, *, now: float) -> ChunkResult:
        """The result with its times by the clock of this machine; how long it took stays."""
        at = self.hear(result.worker_id, result.finished_at, now=now)
        if at == result.finished_at:
            return result
        seconds = max(0.0, result.finished_at - result.started_at)
        return msgspec.structs.replace(result, started_at=at - seconds, finished_at=at)
