"""Thousands of whole runs in virtual time, each disturbed as its seed wants it; and mistakes are found."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulation.mutations import MUTATIONS, Mutation, mutated
from simulation.world import failures_of, simulate, simulation

TESTS = Path(__file__).parents[1]
FIXED, FRESH, IN_ONE_TEST = 2000, 1000, 500


def run_seeds(first: int, count: int) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "simulation", "--seeds", f"{first}-{first + count - 1}"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, FIXED, IN_ONE_TEST))
def test_runs_of_fixed_seeds_say_what_is_true_and_leave_nothing(first) -> None:
    done = run_seeds(first, IN_ONE_TEST)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(FRESH // IN_ONE_TEST))
def test_runs_of_fresh_seeds_do_as_well(part) -> None:
    first = 10_000 + time.time_ns() // 1000 % 1_000_000_000
    done = run_seeds(first, IN_ONE_TEST)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mistake_is_found_within_two_thousand_seeds(mutation: Mutation) -> None:
    with mutated(mutation):
        assert failures_of(range(FIXED), most=1)


def test_a_seed_makes_the_same_run_again() -> None:
    with simulation():
        first, second = simulate(7), simulate(7)
    assert (first.steps, first.seconds, first.verdict) == (second.steps, second.seconds, second.verdict)
    assert first.steps > 100


def test_a_run_disturbed_by_nobody_ends_in_one_command() -> None:
    with simulation():
        calm = [o for o in map(simulate, range(100)) if not (o.plan.disturbances or o.plan.garbage)]
    lossless = [o for o in calm if o.verdict is not None and o.verdict.lossless]
    assert len(lossless) > 10
