"""Publishes a run's chunks from a thread of its own, so that results are read meanwhile."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ttg_worker.backoff import Outage
from ttg_worker.brokers.attempts import part_of
from ttg_worker.brokers.base import Broker
from ttg_worker.errors import BrokerFull, BrokerUnavailable
from ttg_worker.simulated_faults import Picks
from ttg_worker.wire import INDICES, Chunk
from ttgctl.core.faults.chunk_faults import chunk_faults
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.domain.run import RunSpec

# How long publishing waits for a broker that went away before it gives up, each time.
PATIENCE_SECONDS: Final = 120.0
# And how often one that takes nothing in is tried.
FULL_SECONDS: Final = 0.5


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
    """What is to be published: the chunks of ``again`` once more, then those from ``first`` on.

    Of the latter not the ones of which everything is ``known``, by chunk; of those that are wanted in part
    the ``offsets``.
    """

    first: int = 0
    again: Sequence[int] = ()
    known: bytes = b""
    offsets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


class Publishing:
    """``attempted`` and ``acknowledged`` count chunks from the first of the run on, those that are known
    included; those ``again`` come before the rest and count for themselves.

    After ``finished`` all are confirmed, or ``error`` says why not.
    """

    def __init__(
        self,
        broker: Broker,
        spec: RunSpec,
        source: ParameterSource,
        outstanding: Outstanding,
    ) -> None:
        self._broker = broker
        self._spec = spec
        self._source = source
        self._duplicates = Picks(chunk_faults(spec).duplicate, seed=spec.seed, purpose="duplicate")
        # The places, counted from 1, of second copies among what was sent.
        self._doubled_at: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publishing", daemon=True)
        self._outstanding = outstanding
        self._again_done = 0
        # The chunks from the first on that were sent to the broker that there is now.
        self._sent = array("Q")
        self.attempted = outstanding.first
        self.acknowledged = outstanding.first
        self.finished = False
        self.error: Exception | None = None

    @property
    def again_finished(self) -> bool:
        """Whether all that was to be published once more is confirmed."""
        return self._again_done == len(self._outstanding.again)

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
        except BrokerFull:
            # It is there: whoever watches it tells what helps, and it is waited for.
            outage.over()
            return self._stop.wait(FULL_SECONDS)
        except BrokerUnavailable as error:
            return self._stop.wait(outage.pause_after(error))
        return True

    def _publish(self, outage: Outage) -> None:
        first, again_before = self.acknowledged, self._again_done
        again_left = len(self._outstanding.again) - again_before
        publisher = self._broker.publisher(self._spec.run_id)
        self._doubled_at.clear()
        del self._sent[:]
        safe = 0
        try:
            for confirmed in publisher.publish(self._with_duplicates(first)):
                outage.over()
                chunks = confirmed - bisect_right(self._doubled_at, confirmed)
                self._again_done = again_before + min(chunks, again_left)
                safe = max(0, chunks - again_left)
                if safe:
                    self.acknowledged = self._sent[safe - 1] + 1
            if not self._stop.is_set() and safe == len(self._sent):
                # Also of the last ones, which may have been known.
                self.attempted = self.acknowledged = self._spec.chunks_total
                self.finished = True
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
        outstanding, known = self._outstanding, self._outstanding.known
        for chunk_id in outstanding.again[self._again_done :]:
            if self._stop.is_set():
                return
            yield self._chunk(chunk_id)
        for chunk_id in range(first, self._spec.chunks_total):
            if self._stop.is_set():
                return
            if known and known[chunk_id]:
                continue
            self.attempted = max(self.attempted, chunk_id + 1)
            self._sent.append(chunk_id)
            yield self._chunk(chunk_id)

    def _chunk(self, chunk_id: int) -> Chunk:
        return chunk_of(self._spec, self._source, chunk_id, self._outstanding.offsets.get(chunk_id, ()))
