"""One delivery on its way through the compute process: what became of each of its parameters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Delivery
from ttg_worker.compute.values import VALUE_BYTES
from ttg_worker.compute_process import Assignment
from ttg_worker.wire import ChunkResult, ParameterError

# A value's comma, offset and seconds.
BESIDE_VALUE_BYTES: Final = 24


class Job:
    """A delivery with the outcomes of its parameters so far, by their position in the chunk.

    ``left`` counts those that have none. ``seconds`` is how long the calls took altogether.
    """

    __slots__ = (
        "_errors",
        "_parameters",
        "_seconds",
        "_values",
        "delivery",
        "finished_at",
        "left",
        "seconds",
        "size",
        "started_at",
    )

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.size = self.left = delivery.chunk.size
        self.started_at = self.finished_at = time.time()
        self.seconds = 0.0
        self._values: list[bytes | None] = [None] * self.size
        self._seconds: list[float] | None = None
        self._errors: dict[tuple[str, str], list[int]] = {}
        self._parameters: list[msgspec.Raw] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether anything is known of it that giving it back would lose."""
        return self.left < self.size

    def assignment(self, serial: int, first: int, stop: int) -> Assignment:
        """Its parameters at the positions from ``first`` up to ``stop``."""
        chunk = self.delivery.chunk
        offsets: Sequence[int] | None = chunk.offsets[first:stop] or None
        start = chunk.start if offsets else chunk.start + first
        if not len(chunk.parameters):
            return serial, start, stop - first, offsets, None
        if stop - first == self.size:
            return serial, start, self.size, None, chunk.parameters
        if self._parameters is None:
            self._parameters = msgspec.json.decode(chunk.parameters, type=list[msgspec.Raw])
        some = msgspec.Raw(msgspec.json.encode(self._parameters[first:stop]))
        return serial, start, stop - first, None, some

    def index_at(self, position: int) -> int:
        """The parameter's index in the whole sweep."""
        return self.delivery.chunk.indices[position]

    def succeeded(self, position: int, value: bytes, seconds: float) -> None:
        self._values[position] = value
        self.left -= 1
        if seconds:
            if self._seconds is None:
                self._seconds = [0.0] * self.size
            self._seconds[position] = seconds

    def failed(self, position: int, kind: str, text: str) -> None:
        self._errors.setdefault((kind, text), []).append(position)
        self.left -= 1

    def fail_all(self, kind: str, text: str) -> None:
        """Instead of computing it."""
        self._errors[kind, text] = list(range(self.size))
        self.left = 0

    def ran(self, started_at: float, seconds: float) -> None:
        """A stretch of it was computed, from Unix time ``started_at`` on."""
        self.started_at = started_at if not self.seconds else self.started_at
        self.seconds += seconds
        self.finished_at = started_at + seconds

    @property
    def errors(self) -> list[ParameterError]:
        """What failed, the first parameter first; the same words once."""
        if not self._errors:
            return []
        found = [
            ParameterError(self._offsets(sorted(positions)), kind, wire.cut(text))
            for (kind, text), positions in self._errors.items()
        ]
        return sorted(found, key=lambda error: error.offsets[0])

    def results(self, worker_id: str) -> list[ChunkResult]:
        """Messages with all its values, each small enough for every broker."""
        if self.size == 1 and self._values[0] is not None:
            return [self._result([0], worker_id)]
        positions = [p for p, value in enumerate(self._values) if value is not None]
        stretches: list[list[int]] = [[]]
        size = 0
        for position in positions:
            length = len(self._values[position] or b"") + BESIDE_VALUE_BYTES
            if size + length > VALUE_BYTES and stretches[-1]:
                stretches.append([])
                size = 0
            stretches[-1].append(position)
            size += length
        return [self._result(stretch, worker_id) for stretch in stretches if stretch]

    def _result(self, positions: list[int], worker_id: str) -> ChunkResult:
        delivery, chunk = self.delivery, self.delivery.chunk
        values = b"[%b]" % b",".join([self._values[position] or b"" for position in positions])
        whole = len(positions) == chunk.stop - chunk.start
        seconds = self._seconds
        return ChunkResult(
            run_id=chunk.run_id,
            chunk_id=chunk.chunk_id,
            worker_id=worker_id,
            attempt=delivery.attempt,
            redelivered=delivery.redelivered,
            started_at=self.started_at,
            finished_at=self.finished_at,
            digest=wire.digest(values),
            values=msgspec.Raw(values),
            offsets=() if whole else self._offsets(positions),
            seconds=() if seconds is None else tuple(seconds[position] for position in positions),
        )

    def _offsets(self, positions: Sequence[int]) -> tuple[int, ...]:
        own = self.delivery.chunk.offsets
        return tuple(own[position] for position in positions) if own else tuple(positions)
