"""Publishes a run's chunks from a thread of its own, so that results are read meanwhile."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ttg_worker.backoff import Outage
from ttg_worker.brokers.attempts import part_of
from ttg_worker.brokers.base import Broker
from ttg_worker.errors import BrokerUnavailable
from ttg_worker.simulated_faults import Picks
from ttg_worker.wire import INDICES, Chunk
from ttgctl.core.faults.chunk_faults import chunk_faults
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec

# How long publishing waits for a broker that went away before it gives up, each time.
PATIENCE_SECONDS: Final = 120.0


def chunks_of(spec: RunSpec, source: ParameterSource, *, first: int = 0) -> Iterator[Chunk]:
    """The run's chunks from ``first`` on, made one by one; always the same for the same run."""
    for chunk_id in range(first, spec.chunks_total):
        yield chunk_of(spec, source, chunk_id)


def chunk_of(spec: RunSpec, source: ParameterSource, chunk_id: int, offsets: tuple[int, ...] = ()) -> Chunk:
    """One chunk of the run, or those of its parameters that ``offsets`` name."""
    indices = spec.chunk_range(chunk_id)
    with_values = spec.parameter_source is not None
    raw = msgspec.Raw(msgspec.json.encode(source.values(indices))) if with_values else INDICES
    whole = Chunk(spec.run_id, chunk_id, indices.start, indices.stop, raw)
    return part_of(whole, offsets) if offsets else whole


@dataclass(frozen=True)
class Outstanding:
    """Chunks to be published once more: their ids, and of those that are wanted in part the offsets."""

    chunk_ids: Sequence[int] = ()
    offsets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


class Publishing:
    """``attempted`` and ``acknowledged`` count chunks from the first of the run on; those ``again`` come
    before the rest and count for themselves.

    After ``finished`` all are confirmed, or ``error`` says why not.
    """

    def __init__(
        self,
        broker: Broker,
        spec: RunSpec,
        source: ParameterSource,
        *,
        first: int,
        again: Outstanding,
    ) -> None:
        self._broker = broker
        self._spec = spec
        self._source = source
        self._duplicates = Picks(chunk_faults(spec).duplicate, seed=spec.seed, purpose="duplicate")
        # The places, counted from 1, of second copies among what was sent.
        self._doubled_at: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)
        self._again = again
        self._again_done = 0
        self.attempted = first
        self.acknowledged = first
        self.finished = False
        self.error: Exception | None = None

    @property
    def again_finished(self) -> bool:
        """Whether all that was to be published once more is confirmed."""
        return self._again_done == len(self._again.chunk_ids)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops between two chunks; what was sent may still be unconfirmed."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        outage = Outage(patience_seconds=PATIENCE_SECONDS)
        try:
            while not self._published(outage):
                pass
        # The thread's owner must hear of it, whatever it is: it is raised there.
        except Exception as error:
            self.error = error

    def _published(self, outage: Outage) -> bool:
        """Whether it is done, or was stopped; False when the broker went away and is to be tried again."""
        try:
            self._publish(outage)
        except BrokerUnavailable as error:
            return self._stop.wait(outage.pause_after(error))
        return True

    def _publish(self, outage: Outage) -> None:
        first, again_before = self.acknowledged, self._again_done
        again_left = len(self._again.chunk_ids) - again_before
        publisher = self._broker.publisher(self._spec.run_id)
        self._doubled_at.clear()
        try:
            for confirmed in publisher.publish(self._with_duplicates(first)):
                outage.over()
                chunks = confirmed - bisect_right(self._doubled_at, confirmed)
                self._again_done = again_before + min(chunks, again_left)
                self.acknowledged = first + max(0, chunks - again_left)
            self.finished = not self._stop.is_set() and self.acknowledged == self._spec.chunks_total
        finally:
            publisher.close()

    def _with_duplicates(self, first: int) -> Iterator[Chunk]:
        """What the plan wants twice follows itself at once; ``acknowledged`` counts it once."""
        sent = 0
        for chunk in self._counted(first):
            yield chunk
            sent += 1
            if chunk.chunk_id in self._duplicates:
                sent += 1
                self._doubled_at.append(sent)
                yield chunk

    def _counted(self, first: int) -> Iterator[Chunk]:
        again = self._again
        for chunk_id in again.chunk_ids[self._again_done :]:
            if self._stop.is_set():
                return
            yield chunk_of(self._spec, self._source, chunk_id, again.offsets.get(chunk_id, ()))
        for chunk in chunks_of(self._spec, self._source, first=first):
            if self._stop.is_set():
                return
            self.attempted = max(self.attempted, chunk.chunk_id + 1)
            yield chunk
