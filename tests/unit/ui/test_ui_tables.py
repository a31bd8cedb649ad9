from __future__ import annotations

import io

import msgspec
import pytest

from ttgctl.core.ports import Check, OwnedResource
from ttgctl.ui.text.console import data_console
from ttgctl.ui.views.tables import (
    RunRow,
    owned_json,
    owned_table,
    problems_json,
    problems_table,
    runs_json,
    runs_table,
)

RUN = RunRow(
    run_id="demo-3f9a2c",
    backend="rabbitmq",
    substrate="kind",
    started_at=1000.0,
    state="finished",
    chunks_done=100,
    chunks_total=100,
    verdict="lossless",
    seconds=34.9,
)
POD = OwnedResource(
    kind="Pod",
    namespace="ttg",
    name="ttg-worker-demo-3f9a2c-7c9f6c-x2x4z",
    uid="0b1c3f1e-6a4e-4a53-8a53-9d1b2f0c7a11",
    run_id="demo-3f9a2c",
    created_at=700.0,
)
ALIEN = OwnedResource(
    kind="ConfigMap", namespace="ttg", name="alien", uid="u-2", run_id=None, created_at=None, foreign=True
)


def test_runs(drawn):
    lines = drawn(runs_table([RUN], now=1330.0), width=120)
    assert lines[0].split() == ["RUN", "BACKEND", "SUBSTRATE", "AGE", "STATE", "CHUNKS", "VERDICT", "TIME"]
    assert "5m30s" in lines[1]
    assert "100/100" in lines[1]
    assert lines[1].endswith("34.9 s")
    assert msgspec.json.decode(runs_json([RUN]))[0]["verdict"] == "lossless"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_name_of_every_owned_resource_is_whole_at_any_width(drawn, width):
    lines = drawn(owned_table([POD, ALIEN], now=1000.0), width=width)
    assert max(map(len, lines)) <= width
    assert "ttg-worker-demo-3f9a2c-7c9f6c-x2x4z" in "".join("".join(lines).split())
    assert any("alien" in line and "foreign" in line for line in lines)
    assert "1 object of ttgctl, 1 foreign left alone" in " ".join(lines)


def test_a_wide_terminal_shows_kind_namespace_uid_age_and_run(drawn):
    row = drawn(owned_table([POD], now=1000.0), width=140)[1].split()
    assert row == ["Pod", "ttg", POD.name, POD.uid, "5m", "demo-3f9a2c"]
    assert msgspec.json.decode(owned_json([ALIEN]))[0]["foreign"] is True


def test_no_column_for_a_namespace_off_a_cluster(drawn):
    process = OwnedResource(kind="process", name="worker 12", uid="12", run_id="r", created_at=None)
    assert "NAMESPACE" not in drawn(owned_table([process], now=0), width=140)[0]


@pytest.mark.parametrize("width", [40, 80])
def test_each_problem_says_its_state_and_the_fix(drawn, width):
    problems = [
        Check(check="docker", status="ok", detail="29.5.0"),
        Check(check="kind", status="fail", detail="not found", fix="install kind or take local"),
        Check(check="disk", status="warn", detail="3 GB free", fix="free 2 GB"),
    ]
    lines = drawn(problems_table(problems), width=width)
    assert max(map(len, lines)) <= width
    flat = " ".join(" ".join(lines).split())
    assert "fix: install kind or take local" in flat
    assert lines[-1] == "1 ok, 1 warn, 1 fail"
    assert [p["status"] for p in msgspec.json.decode(problems_json(problems))] == ["ok", "fail", "warn"]


def test_a_table_in_a_pipe_is_neither_cut_nor_coloured(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    many = [POD] * 3
    data_console(stream).print(owned_table(many, now=1000.0))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert "\x1b" not in stream.getvalue()
    assert max(map(len, lines)) < 200
