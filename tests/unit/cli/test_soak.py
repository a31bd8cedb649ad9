"""Random plans follow from their seed and can all be survived; what a soak counts of them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttgctl.core.records.soak_tally import SoakTally
from ttgctl.domain.fault_kinds import FAULT_KINDS
from ttgctl.domain.faults import parse_plan
from ttgctl.domain.random_plan import FAULTS_MOST, SURVIVABLE, random_plan
from ttgctl.domain.verdict import ChunkAccount, FaultRecord, Recovery, Verdict
from ttgctl.ui.views.soak_view import run_line, soak_json

BIT = FaultRecord(fault_id=1, kind="kill-worker", victim="worker-1", at_seconds=1.0, effect="process gone")
MISSED = FaultRecord(fault_id=2, kind="partition", victim=None, at_seconds=0.0)
ACCOUNT = ChunkAccount(
    attempted=10, acknowledged=10, ok=10, lost=0, duplicated=2, recovered=3, conflicting=0, unexpected=0,
    retried=4, dead_lettered=0,
)  # fmt: skip
VERDICT = Verdict(
    run_id="r", backend="redis", substrate="local", lossless=True, complete=True, chunks=ACCOUNT,
    lost_chunks=(), dead_lettered_chunks=(), conflicting_chunks=(), dead_letter_causes={}, parameters=10,
    seconds=2.0,
    parameters_per_second=5.0, queues_after={}, faults=(BIT, MISSED), checksum="a", checksum_expected="a",
    recovery=Recovery(p50_seconds=0.5, p99_seconds=1.5, max_seconds=1.5),
)  # fmt: skip
some_kinds = st.lists(st.sampled_from(sorted(SURVIVABLE)), min_size=1, unique=True)


class TestRandomPlan:
    def test_leaves_out_only_what_can_not_be_lossless(self):
        assert FAULT_KINDS.keys() - SURVIVABLE.keys() == {"poison", "corrupt-result"}

    @given(seed=st.integers(0, 2**32), kinds=some_kinds)
    def test_follows_from_seed_and_kinds_and_reads_back(self, seed, kinds):
        plan = random_plan(seed, kinds)
        assert plan == random_plan(seed, list(reversed(kinds)))
        assert 1 <= len(plan.faults) <= FAULTS_MOST
        assert {fault.kind for fault in plan.faults} <= set(kinds)
        assert parse_plan(map(str, plan.faults)) == plan

    def test_many_seeds_give_many_plans_with_every_kind_in_them(self):
        plans = [random_plan(seed, list(SURVIVABLE)) for seed in range(100)]
        assert len(set(plans)) > 95
        assert {fault.kind for plan in plans for fault in plan.faults} == set(SURVIVABLE)


class TestTally:
    @pytest.fixture
    def tally(self) -> SoakTally:
        tally = SoakTally()
        for waited in (1.5, 0.5):
            recovery = Recovery(p50_seconds=waited, p99_seconds=waited, max_seconds=waited)
            tally.add(replace(VERDICT, recovery=recovery))
        return tally

    def test_only_what_had_an_effect_was_survived(self, tally):
        assert tally.injected == {"kill-worker": 2, "partition": 2}
        assert tally.survived == {"kill-worker": 2, "partition": 0}
        assert (tally.runs, tally.chunks, tally.recovered, tally.retried) == (2, 20, 6, 8)
        assert tally.redelivery_seconds == 1.5

    def test_as_json(self, tally):
        plain = msgspec.json.decode(soak_json(tally, seed=7, asked=9, seconds=1.25, failed={"run": "x"}))
        assert plain["runs_asked"] == 9
        assert plain["runs_lossless"] == 2
        assert plain["faults"]["partition"] == {"injected": 2, "survived": 0}
        assert plain["failed"] == {"run": "x"}


def test_a_run_in_a_line():
    assert run_line(VERDICT) == "lossless in 2.0 s: kill-worker, partition (hit nothing)"
    assert run_line(replace(VERDICT, lossless=False, faults=())) == "NOT LOSSLESS in 2.0 s: no fault"
