"""A run's specification refuses what makes no sense, and survives its file."""

from __future__ import annotations

import pytest

from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.domain.run import Placement, RunSpec, SpecError

GOOD = {"run_id": "r", "backend": "redis", "substrate": "local", "parameters_total": 10, "chunk_size": 3}


@pytest.mark.parametrize("name", ["a", "7", "demo-1", "a" * 40])
def test_a_run_name_fits_queues_labels_and_folders(name):
    assert RunSpec(**{**GOOD, "run_id": name}).run_id == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "../x", "a" * 41, "a\n", "ä"])
def test_a_name_that_does_not_is_refused(name):
    with pytest.raises(SpecError, match="run name"):
        RunSpec(**{**GOOD, "run_id": name})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("parameters_total", 0, "parameters 0"),
        ("chunk_size", 0, "chunk size 0"),
        ("workers", -1, "workers -1"),
        ("seed", -1, "seed -1"),
        ("work_ms", -0.5, "work in ms -0.5"),
        ("work_ms", float("nan"), "work in ms nan"),
        ("work_ms", float("inf"), "work in ms inf"),
        ("fault_rate", 1.01, "fault rate"),
        ("fault_rate", float("nan"), "fault rate"),
        ("timeout_seconds", 0.0, "timeout"),
        ("timeout_seconds", float("nan"), "timeout"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(field, value, said):
    with pytest.raises(SpecError, match=said):
        RunSpec(**{**GOOD, field: value})


def test_written_and_read_it_is_the_same(tmp_path):
    spec = RunSpec(
        **GOOD,
        workload="work.py:f",
        parameter_source="p.csv",
        faults=("kill-worker at=30%",),
        delivery=DeliveryOptions(lease_seconds=0.5),
        placement=Placement(context="c", external_broker=True),
        timeout_seconds=3.5,
    )
    folder = RunFolder(tmp_path / "r")
    folder.write_spec(spec)
    assert folder.read_spec() == spec
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


def test_the_broker_url_is_for_its_owner_alone(tmp_path):
    folder = RunFolder(tmp_path / "r")
    assert folder.read_broker_url() is None
    folder.write_broker_url("redis://:s3cret@h/0")
    assert folder.read_broker_url() == "redis://:s3cret@h/0"
    assert folder.broker_url.stat().st_mode & 0o077 == 0
