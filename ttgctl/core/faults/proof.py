"""What the run shows of a fault after it was injected: chunks again, replacement, rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from ttg_worker.wire import ChunkResult, Heartbeat
from ttgctl.core.faults.view import RunView

RECOVERED_SHARE: Final = 0.8
# The view's rate is over these last seconds: a dip may show as late as that.
RATE_WINDOW_SECONDS: Final = 5.0
# A chunk delivered again so long after a fault is hardly its doing.
ADOPTION_SECONDS: Final = 30.0
# A death or an outage is seen so much later than it was, at the most.
NOTICED_SECONDS: Final = 2.0


@dataclass
class ChunkAttribution:
    """What counts as some fault's proof already: a worker replaces one victim, a chunk waits for one.

    ``causes`` are the times, in order, of all that chunks are delivered again for: the beginnings of faults,
    outages of the broker, deaths that no fault caused.
    """

    workers: set[str] = field(default_factory=set)
    chunks: set[int] = field(default_factory=set)
    causes: list[float] = field(default_factory=list)

    def is_only_cause(self, begun_at: float, *, delivered_at: float) -> bool:
        """Whether the fault that began then is all that a chunk can have been delivered again for."""
        first, last = begun_at - ADOPTION_SECONDS, delivered_at + NOTICED_SECONDS
        # In order, and in a run of days there are many.
        near = self.causes[bisect_right(self.causes, first) : bisect_right(self.causes, last)]
        return near == [begun_at]


class Proof:
    """Follows the chunks that ``victims`` held at ``at`` (Unix seconds), and who took their place."""

    def __init__(
        self, victims: Collection[str], view: RunView, *, at: float, attribution: ChunkAttribution
    ) -> None:
        self._victims = frozenset(victims)
        self._begun_at = view.now
        self._at = at
        self._attribution = attribution
        self._there_before = {w.worker_id for w in view.workers} | set(view.heartbeats)
        self._rate_before = view.chunks_per_second
        self._last_below_at = at
        self._waits: dict[int, float] = {}
        self._replacement: str | None = None
        self._held_by: dict[str, set[int]] = {}
        self._told_at: dict[str, float] = {}
        self._held: set[int] = set()
        # Nobody told of these, and when they were delivered again.
        self._adopted: dict[int, float] = {}
        self.replaced_seconds: float | None = None
        self.recovered_seconds: float | None = None
        self._see_held(view)

    @property
    def chunks_held(self) -> set[int]:
        """What the victims were handed before the fault and had not done."""
        adopted = {chunk_id for chunk_id, at in self._adopted.items() if self._is_mine(at)}
        return self._held | adopted

    @property
    def waits(self) -> list[float]:
        """How long each chunk waited that was handed over again, in seconds."""
        held = self.chunks_held
        return [wait for chunk_id, wait in self._waits.items() if chunk_id in held]

    @property
    def redelivered_seconds(self) -> float | None:
        """The longest of the waits."""
        return round(max(self.waits), 3) if self.waits else None

    @property
    def complete(self) -> bool:
        """All that a kill can show was seen."""
        again = len(self.waits) == len(self.chunks_held)
        recovered = self.recovered_seconds is not None or self._rate_before <= 0
        return again and self.replaced_seconds is not None and recovered

    def _see_held(self, view: RunView) -> None:
        """Takes in what the victims said last before the fault, which may arrive after it."""
        for victim in self._victims & view.heartbeats.keys():
            heartbeat = view.heartbeats[victim]
            if self._told_at.get(victim, 0.0) < heartbeat.at <= self._at:
                self._told_at[victim] = heartbeat.at
                held = {c for c in _in_hand(heartbeat) if not view.has_result(c)}
                self._held -= self._held_by.get(victim, set()) - self._waits.keys()
                self._held_by[victim] = held
                self._held |= held
                self._attribution.chunks |= held

    def see_view(self, view: RunView, *, over_at: float | None) -> None:
        """``over_at`` is when the fault's effect was over, None while it lasts."""
        self._see_held(view)
        for heartbeat in view.heartbeats.values():
            if heartbeat.worker_id not in self._victims and heartbeat.at > self._at:
                for chunk_id in self.chunks_held.intersection(_in_hand(heartbeat)):
                    self._again(chunk_id, heartbeat.at)
                if heartbeat.chunk_id is not None:
                    self._worked(heartbeat.worker_id, heartbeat.at)
        self._follow_rate(view, over_at)

    def see_result(self, result: ChunkResult) -> None:
        if result.worker_id not in self._victims:
            self._adopt(result)
            if result.chunk_id in self.chunks_held:
                self._again(result.chunk_id, result.started_at)
            self._worked(result.worker_id, result.started_at)
        elif result.finished_at <= self._at and result.chunk_id not in self._waits:
            # It got out before the fault: the victim did not hold it any more.
            self._held.discard(result.chunk_id)

    def _adopt(self, result: ChunkResult) -> None:
        """A heartbeat is older than the fault: what the victim took between the two shows only now.

        Only where nothing else can have taken it back, which may come to light later.
        """
        soon = 0 <= result.started_at - self._at < ADOPTION_SECONDS and self._is_mine(result.started_at)
        if self._victims and soon and result.redelivered and result.chunk_id not in self._attribution.chunks:
            self._adopted[result.chunk_id] = result.started_at
            self._attribution.chunks.add(result.chunk_id)

    def _is_mine(self, delivered_at: float) -> bool:
        return self._attribution.is_only_cause(self._begun_at, delivered_at=delivered_at)

    def _again(self, chunk_id: int, at: float) -> None:
        wait = max(0.0, at - self._at)
        self._waits[chunk_id] = min(wait, self._waits.get(chunk_id, wait))

    def _worked(self, worker_id: str, at: float) -> None:
        if self._replacement is None and worker_id not in self._there_before | self._attribution.workers:
            self._replacement = worker_id
            self._attribution.workers.add(worker_id)
        if worker_id == self._replacement and at >= self._at:
            seconds = round(at - self._at, 3)
            known = self.replaced_seconds
            self.replaced_seconds = seconds if known is None else min(known, seconds)

    def _follow_rate(self, view: RunView, over_at: float | None) -> None:
        if self._rate_before <= 0 or self.recovered_seconds is not None:
            return
        if view.chunks_per_second < RECOVERED_SHARE * self._rate_before:
            self._last_below_at = view.now
        elif over_at is not None and view.now - over_at >= RATE_WINDOW_SECONDS:
            self.recovered_seconds = round(max(0.0, self._last_below_at - self._at), 3)


def _in_hand(heartbeat: Heartbeat) -> set[int]:
    return {*heartbeat.held, *(() if heartbeat.chunk_id is None else (heartbeat.chunk_id,))}
