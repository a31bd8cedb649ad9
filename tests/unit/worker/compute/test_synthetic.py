"""The simulated work: known values, after the time asked for."""

from __future__ import annotations

import time

import pytest

from ttg_worker.compute.synthetic import synthetic, synthetic_value


def test_values_tell_parameters_and_seeds_apart():
    values = {synthetic_value(seed, index) for seed in range(20) for index in range(5000)}
    # 32 bits each: about one pair in 100,000 of them may meet.
    assert len(values) > 99_990
    assert all(0 <= value < 2**32 for value in values)
    assert synthetic(work_seconds=0.0, seed=3)(5) == synthetic_value(3, 5)


def test_a_wake_up_that_came_late_is_made_up_for(monkeypatch):
    now, late = 100.0, 0.003
    slept = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now, slept
        now += seconds + late
        slept += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", sleep)
    compute = synthetic(work_seconds=0.01, seed=0)
    compute(0)
    assert now - 100.0 >= 0.01
    now, slept = 100.0, 0.0
    compute = synthetic(work_seconds=0.01, seed=0)
    for index in range(100):
        compute(index)
    assert now - 100.0 == pytest.approx(1.0, abs=0.02)
    # But not for a pause between calls.
    now += 50.0
    before = now
    for index in range(100):
        compute(index)
    assert now - before == pytest.approx(1.0, abs=0.03)
