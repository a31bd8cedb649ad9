"""Faults that a run's plan asks of its workers strike as often as asked, and the same everywhere."""

from __future__ import annotations

import msgspec
import pytest

from ttg_worker import wire
from ttg_worker.simulated_faults import SimulatedFaults
from ttg_worker.wire import Chunk, ChunkResult


def faults(**changes) -> SimulatedFaults:
    return SimulatedFaults(**{"poison": "", "corrupt": "", "fault_rate": 0.0, "seed": 3, **changes})


def struck(given: SimulatedFaults, attempt: int, chunks: int = 64) -> list[bool]:
    return [given.before_compute(Chunk("r", c, c, c + 1), attempt) is not None for c in range(chunks)]


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_they_come_at_their_rate_whatever_the_chunk_and_attempt(rate):
    for attempt in (1, 2):
        share = sum(struck(faults(fault_rate=rate), attempt, 5000)) / 5000
        assert abs(share - rate) <= 0.02


def test_they_depend_on_seed_chunk_and_attempt_alone():
    one = struck(faults(fault_rate=0.5, seed=1), 1)
    assert one == struck(faults(fault_rate=0.5, seed=1), 1)
    assert one != struck(faults(fault_rate=0.5, seed=2), 1)
    assert one != struck(faults(fault_rate=0.5, seed=1), 2)


def test_they_say_that_they_were_asked_for():
    assert faults(poison="3").before_compute(Chunk("r", 3, 3, 4), 1) == (
        "chunk 3 is poisoned: the run's fault plan asked for it"
    )
    assert faults(poison="3").before_compute(Chunk("r", 4, 4, 5), 1) is None


def test_a_corrupt_result_differs_from_its_digest():
    values = b"[1,2]"
    sent = ChunkResult("r", 3, "w", 1, 0, 1.0, 2.0, wire.digest(values), msgspec.Raw(values))
    assert faults().as_sent(sent) is sent
    changed = faults(corrupt="3").as_sent(sent)
    assert changed.digest == sent.digest
    assert bytes(changed.values) == b'["corrupt",2]'
