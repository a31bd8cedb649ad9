"""Chunks follow from the specification alone, and cover the parameters exactly once."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker.wire import INDICES
from ttgctl.core.inputs.parameters import IndexParameters, open_parameters
from ttgctl.core.run.publishing import chunks_of
from ttgctl.domain.run import RunSpec


def spec(total: int, size: int, **changes) -> RunSpec:
    fields = {"run_id": "r", "backend": "redis", "substrate": "local"}
    return RunSpec(**{**fields, "parameters_total": total, "chunk_size": size, **changes})


@given(st.integers(1, 5000), st.integers(1, 600))
def test_chunks_cover_every_parameter_once_in_order(total, size):
    plan = spec(total, size)
    ranges = list(plan.chunk_ranges())
    assert len(ranges) == plan.chunks_total
    assert [chunk_id for chunk_id, _ in ranges] == list(range(plan.chunks_total))
    assert [index for _, indices in ranges for index in indices] == list(range(total))
    assert all(len(indices) == size for _, indices in ranges[:-1])
    assert 1 <= len(ranges[-1][1]) <= size


@given(st.integers(1, 500), st.integers(1, 60), st.data())
def test_the_rest_is_the_end_of_the_whole(total, size, data):
    plan = spec(total, size)
    first = data.draw(st.integers(0, plan.chunks_total))
    source = IndexParameters(total)
    whole = list(chunks_of(plan, source))
    assert list(chunks_of(plan, source, first=first)) == whole[first:]
    assert all(chunk.parameters is INDICES for chunk in whole)


@pytest.mark.parametrize("chunk_id", [-1, 4, 100])
def test_there_is_no_chunk_beyond_the_last(chunk_id):
    with pytest.raises(IndexError, match=f"chunk {chunk_id} of 4"):
        spec(10, 3).chunk_range(chunk_id)


def test_chunks_carry_the_values_of_a_parameter_file(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"x": 1}\n{"x": 2.5}\n{"x": "\\u00e4"}\n')
    source = open_parameters(path)
    chunks = list(chunks_of(spec(source.total, 2, parameter_source="p.jsonl"), source))
    assert [(c.start, c.stop) for c in chunks] == [(0, 2), (2, 3)]
    assert [msgspec.json.decode(c.parameters) for c in chunks] == [[{"x": 1}, {"x": 2.5}], [{"x": "ä"}]]
