"""What a comparison must show, and how one run is told from another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ttgctl.cli.pipeline.compare_matrix import judged
from ttgctl.core.records.run_record import RunRecord
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ChunkAccount, ExitCode, FaultRecord, Verdict
from ttgctl.ui.views.rerun import demo_command, difference

BIT = FaultRecord(fault_id=1, kind="kill-worker", victim="worker-1", at_seconds=1.0, effect="process gone")


def verdict(*, lost: int = 0, faults: tuple[FaultRecord, ...] = ()) -> Verdict:
    account = ChunkAccount(
        attempted=10, acknowledged=10, ok=10 - lost, lost=lost, duplicated=0, recovered=0, conflicting=0,
        unexpected=0, retried=0, dead_lettered=0,
    )  # fmt: skip
    return Verdict(
        run_id="r", backend="redis", substrate="local", lossless=not lost, complete=not lost, chunks=account,
        lost_chunks=tuple(range(lost)), dead_lettered_chunks=(), conflicting_chunks=(), dead_letter_causes={},
        parameters=10, seconds=2.0, parameters_per_second=5.0, queues_after={}, faults=faults, recovery=None,
        checksum="a", checksum_expected="a",
    )  # fmt: skip


def spec(**changes) -> RunSpec:
    return RunSpec(
        **{"run_id": "r", "backend": "redis", "substrate": "local", "parameters_total": 10, "chunk_size": 1}
        | changes
    )


def record(backend: str, *, faulted: bool, lost: int = 0, bit: bool = True) -> RunRecord:
    faults = (BIT if bit else replace(BIT, effect=None),) if faulted else ()
    return RunRecord(
        spec=spec(backend=backend, faults=("kill-worker",) if faulted else ()), started_at=1.0, ended_at=2.0,
        commands=1, phases=(), progress=(), last=None, chunks_by_worker={}, faults=faults, notices=(),
        verdict=verdict(lost=lost, faults=faults), interrupted=None,
    )  # fmt: skip


class TestJudged:
    @pytest.mark.parametrize(
        ("static_fault", "redis_fault", "code"),
        [
            ({"lost": 3}, {}, ExitCode.LOSSLESS),
            ({"lost": 0}, {}, ExitCode.LOSS),
            ({"lost": 3}, {"lost": 1}, ExitCode.LOSS),
            ({"lost": 3}, {"bit": False}, ExitCode.SUBSTRATE),
        ],
    )
    def test_queues_must_lose_nothing_and_fixed_shares_must_lose(self, static_fault, redis_fault, code):
        records = [
            record("static", faulted=False),
            record("static", faulted=True, **static_fault),
            record("redis", faulted=False),
            record("redis", faulted=True, **redis_fault),
        ]
        assert judged(records)[0] is code

    def test_one_of_several_that_lost_is_named(self):
        lost = replace(
            record("redis", faulted=True), verdict=replace(verdict(lost=1, faults=(BIT,)), run_id="x9")
        )
        code, lines = judged([record("redis", faulted=True), lost, record("redis", faulted=False)])
        assert code is ExitCode.LOSS
        assert lines == ["redis: NOT lossless: x9"]

    def test_shares_that_lose_undisturbed_prove_nothing(self):
        records = [record("static", faulted=False, lost=1), record("static", faulted=True, lost=2)]
        assert judged(records)[0] is ExitCode.LOSS


class TestDifference:
    def test_the_same(self):
        line = difference(verdict(), replace(verdict(), seconds=3.0))
        assert line == "as before: 10 of 10 chunks ok and every value equal; 3.0 s, before 2.0 s"

    def test_not_the_same(self):
        line = difference(verdict(), replace(verdict(lost=2), checksum=None))
        assert line == "changed: ok 10 -> 8, lost 0 -> 2; 2.0 s, before 2.0 s"
        assert "checksum" in difference(verdict(), replace(verdict(), checksum="b"))

    def test_nothing_to_compare_with(self):
        assert difference(None, verdict()).endswith(
            "now: LOSSLESS: 10 of 10 chunks accounted for exactly once"
        )


class TestDemoCommand:
    def test_says_all_that_decides_the_run(self):
        plain = spec(seed=7, work_ms=2.5, faults=("kill-worker at=30% count=1",))
        delivery = replace(plain.delivery, lease_seconds=0.8, max_attempts=9)
        assert demo_command(replace(plain, delivery=delivery, unsafe_ack_early=True)) == (
            "ttgctl demo --backend redis --substrate local --parameters-total 10 --chunk-size 1 --workers 3 "
            "--work-ms 2.5 --seed 7 --max-attempts 9 --lease-ms 800 --fault 'kill-worker at=30% count=1' "
            "--unsafe-ack-early"
        )

    def test_of_a_users_function_there_is_none(self):
        assert demo_command(spec(workload="work.py:f")) is None
