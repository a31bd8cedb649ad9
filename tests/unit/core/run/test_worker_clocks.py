"""Times of workers whose clocks are wrong."""

from __future__ import annotations

import msgspec
import pytest

from ttg_worker.wire import ChunkResult, Heartbeat, digest
from ttgctl.core.run.worker_clocks import WorkerClocks

NOW = 1_000_000.0


def heartbeat(at: float) -> Heartbeat:
    return Heartbeat("r", "w", "busy", 3, (3,), 0, 0, at - 10, at)


def result(started_at: float, finished_at: float) -> ChunkResult:
    return ChunkResult("r", 3, "w", 1, 0, started_at, finished_at, digest(b"[1]"), msgspec.Raw(b"[1]"))


@pytest.mark.parametrize("skew", [-3600.0, -4.0, 0.0, 0.6, 3600.0])
def test_what_is_heard_has_the_time_at_which_it_arrived(skew):
    clocks = WorkerClocks()
    for second in range(5):
        heard = clocks.heartbeat(heartbeat(NOW + second + skew), now=NOW + second + 0.01)
        assert heard.at == pytest.approx(NOW + second, abs=0.02)


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
def test_how_long_a_chunk_took_stays(skew):
    moved = WorkerClocks().result(result(NOW + skew - 2.5, NOW + skew), now=NOW + 0.01)
    assert moved.finished_at == pytest.approx(NOW, abs=0.02)
    assert moved.finished_at - moved.started_at == pytest.approx(2.5)


def test_what_was_read_late_lies_where_the_quickest_words_say():
    clocks = WorkerClocks()
    clocks.heartbeat(heartbeat(NOW - 3600.0), now=NOW + 0.01)
    # Three seconds in a queue: it was finished when the worker's clock said so.
    assert clocks.result(result(NOW - 3600.0, NOW - 3599.0), now=NOW + 4.0).finished_at == pytest.approx(
        NOW + 1.0, abs=0.02
    )


def test_nothing_lies_in_the_future():
    clocks = WorkerClocks()
    clocks.heartbeat(heartbeat(NOW), now=NOW + 0.01)
    assert clocks.heartbeat(heartbeat(NOW + 500.0), now=NOW + 1.0).at == NOW + 1.0
