"""Fault plans from YAML files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttgctl.core.faults.plan_file import FaultPlanFileError, read_fault_plan
from ttgctl.domain.fault_kinds import FAULT_KINDS
from ttgctl.domain.faults import parse_fault


def plan_file(folder: Path, text: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text)
    return path


def test_mappings_and_lines_mean_the_same(tmp_path: Path) -> None:
    plan = read_fault_plan(
        plan_file(
            tmp_path,
            """
- kind: kill-worker
  at: 30%
  count: 2
- {kind: slow-worker, every: 10s, jitter: 500ms, times: 3, factor: 2.5, where: {node: n2, tier: a}}
- kind: poison
  chunks: [7, 3]
- {kind: error-rate, rate: 0.05}
- stop-worker at=12s duration=3s
""",
        )
    )
    assert list(plan.faults) == [
        parse_fault("kill-worker at=30% count=2"),
        parse_fault("slow-worker every=10s jitter=0.5s times=3 factor=2.5 where=node=n2,tier=a"),
        parse_fault("poison chunks=3,7"),
        parse_fault("error-rate rate=5%"),
        parse_fault("stop-worker at=12s duration=3s"),
    ]


def test_an_empty_list_is_a_plan_without_faults(tmp_path: Path) -> None:
    assert read_fault_plan(plan_file(tmp_path, "[]")).faults == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["expected a list of faults"]),
        ("kind: kill-worker", ["expected a list of faults"]),
        ("- at: 30%", ["fault 1", "a mapping with a kind", "kill-worker"]),
        ("- [1]", ["fault 1", "a mapping with a kind"]),
        ("- kill-worker\n- {kind: kill}", ["fault 2", "'kill'"]),
        ("- {kind: kill-worker, count: true}", ["fault 1: count", "text or a number"]),
        ("- {kind: kill-worker, count:}", ["fault 1: count", "text or a number"]),
        ("- {kind: kill-worker, count: 1.5}", ["fault 1: count='1.5'"]),
        ("- {kind: kill-worker, at: 30}", ["fault 1: at='30'", "30%"]),
        ("- {kind: kill-worker, at: .nan}", ["fault 1: at='nan'"]),
        ("- {kind: kill-worker, where: [node]}", ["where='node'"]),
        ("- {kind: poison, chunks: [[1]]}", ["fault 1: chunks", "text or a number"]),
        ("- {kind: kill-worker, count: 1, count: 2}", ["line 1", "twice"]),
        ("- {kind: kill-worker, 3: 4}", ["kill-worker has no '3'"]),
        ("- {kind: kill-worker, count: " + "9" * 4000 + "}", ["fault 1"]),
        ("- *x", ["line 1"]),
        ("- [", ["line"]),
    ],
)
def test_nonsense_is_refused_with_file_and_place(tmp_path: Path, text: str, words: list[str]) -> None:
    path = plan_file(tmp_path, text)
    with pytest.raises(FaultPlanFileError) as refused:
        read_fault_plan(path)
    assert str(refused.value).startswith(f"{path}: ")
    for word in words:
        assert word in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultPlanFileError, match=r"missing\.yaml: No such file"):
        read_fault_plan(tmp_path / "missing.yaml")


KEYS = st.sampled_from(["kind", *sorted({key for row in FAULT_KINDS.values() for key in row.keys})])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(sorted(FAULT_KINDS))
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["30%", "12s", "node=a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES, max_size=3) | VALUES


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | DOCUMENTS.map(lambda document: json.dumps(document).encode()))
def test_whatever_is_in_a_file_is_a_plan_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)
    with contextlib.suppress(FaultPlanFileError):
        read_fault_plan(path)
