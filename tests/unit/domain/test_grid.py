from __future__ import annotations

import itertools
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttgctl.domain.grid import POINTS_MOST, SAMPLE_MOST, GridError, ParameterGrid, read_grid

names = st.text(min_size=1, max_size=8)
values = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text(max_size=8)
axes = st.dictionaries(names, st.lists(values, min_size=1, max_size=5), min_size=1, max_size=4)


def axis(form: object) -> list[object]:
    return [point["x"] for point in read_grid({"parameters": {"x": form}})]


@given(axes)
def test_points_are_those_of_nested_loops_the_last_axis_innermost(axes):
    grid = read_grid({"parameters": axes})
    expected = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    assert [grid.point(index) for index in range(len(grid))] == expected
    assert list(grid) == expected
    assert all(list(point) == list(axes) for point in grid)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_every_index_has_its_own_point(lengths):
    grid = ParameterGrid({f"axis{i}": range(length) for i, length in enumerate(lengths)})
    assert len(grid) == math.prod(lengths)
    assert len({tuple(point.values()) for point in grid}) == len(grid)


@given(axes, st.data(), st.integers(0, 2**63 - 1))
def test_a_sample_is_distinct_points_in_grid_order_and_the_same_for_a_seed(axes, data, seed):
    axes = {name: list(range(len(axis))) for name, axis in axes.items()}
    whole = [tuple(point.values()) for point in read_grid({"parameters": axes})]
    count = data.draw(st.integers(1, len(whole)))
    document = {"parameters": axes, "sample": count, "seed": seed}
    drawn = [tuple(point.values()) for point in read_grid(document)]
    assert len(drawn) == len(set(drawn)) == len(read_grid(document)) == count
    assert drawn == sorted(drawn)
    assert set(drawn) <= set(whole)
    assert drawn == [tuple(point.values()) for point in read_grid(document)]


def test_another_seed_draws_other_points_and_none_means_zero():
    document = {"parameters": {"x": {"range": [10**6]}}, "sample": 50}
    by_seed = [list(read_grid({**document, "seed": seed})) for seed in (0, 1)]
    assert by_seed[0] != by_seed[1]
    assert list(read_grid(document)) == by_seed[0]


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_a_range_is_pythons_own(start, stop, step):
    expected = list(range(start, stop, step))
    if expected:
        assert axis({"range": [start, stop, step]}) == expected
    else:
        with pytest.raises(GridError, match=r"parameters\.x has no values"):
            axis({"range": [start, stop, step]})


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.integers(2, 50))
def test_linspace_has_both_ends_exactly_and_even_steps(start, stop, count):
    points = axis({"linspace": [start, stop, count]})
    assert len(points) == count
    assert (points[0], points[-1]) == (start, stop)
    step = (stop - start) / (count - 1)
    assert points == pytest.approx([start + i * step for i in range(count)], abs=1e-9)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (["a", None, True, 1.5, [1, 2], {"k": 3}], ["a", None, True, 1.5, [1, 2], {"k": 3}]),
        ("heston", ["heston"]),
        (None, [None]),
        ({"range": [3]}, [0, 1, 2]),
        ({"range": [0, 1000, 250]}, [0, 250, 500, 750]),
        ({"linspace": [0.0, 1.0, 5]}, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ({"linspace": [3, 9, 1]}, [3.0]),
        ({"logspace": [-2, 0, 3]}, [0.01, 0.1, 1.0]),
        ({"logspace": [2, 2, 1]}, [100.0]),
    ],
)
def test_what_each_form_of_axis_gives(form, expected):
    assert axis(form) == pytest.approx(expected) if isinstance(expected[0], float) else axis(form) == expected


def test_a_grid_of_a_billion_points_takes_no_memory():
    tracemalloc.start()
    grid = read_grid(
        {"parameters": {"a": {"range": [10**3]}, "b": {"range": [10**3]}, "c": {"linspace": [0, 1, 10**3]}}}
    )
    assert len(grid) == POINTS_MOST
    assert grid.point(POINTS_MOST - 1) == {"a": 999, "b": 999, "c": 1.0}
    assert grid.point(1_002_003) == {"a": 1, "b": 2, "c": pytest.approx(3 / 999)}
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_sample_may_come_from_a_grid_that_is_itself_too_large():
    grid = read_grid({"parameters": {name: {"range": [10**6]} for name in "abc"}, "sample": 1000})
    assert len({tuple(point.values()) for point in grid}) == 1000


@pytest.mark.parametrize("index", [-1, 6])
def test_an_index_outside_is_an_error(index):
    with pytest.raises(IndexError, match=f"point {index} of 6"):
        ParameterGrid({"a": range(2), "b": range(3)}).point(index)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (None, "expected 'parameters:'"),
        ([1], "expected 'parameters:'"),
        ({"strike": [1]}, "expected 'parameters:'"),
        ({"parameters": [1]}, "expected 'parameters:'"),
        ({"parameters": {}}, "at least one"),
        ({"parameters": {"a": 1}, "chunks": 3}, "'chunks': expected nothing but"),
        ({"parameters": {1: 2}}, "1 is not a name"),
        ({"parameters": {"": 2}}, "'' is not a name"),
        ({"parameters": {"a": []}}, "parameters.a has no values"),
        ({"parameters": {"a": {}}}, "parameters.a: {}: expected a list"),
        ({"parameters": {"a": {"rnage": [3]}}}, "parameters.a: {'rnage': [3]}: expected a list"),
        ({"parameters": {"a": {"range": [3], "linspace": [1, 2, 3]}}}, "expected a list, one value, {range"),
        ({"parameters": {"a": {1: 2}}}, "parameters.a: {1: 2}"),
        ({"parameters": {"a": {"range": 3}}}, "parameters.a.range: 3: expected [stop]"),
        ({"parameters": {"a": {"range": [0, 1, 0.1]}}}, "parameters.a.range: 0.1: expected whole numbers"),
        ({"parameters": {"a": {"range": [True]}}}, "parameters.a.range: True: expected whole"),
        ({"parameters": {"a": {"range": [0, 1, 0]}}}, "a step other than 0"),
        ({"parameters": {"a": {"range": [2**63]}}}, "parameters.a.range: 0x8000"),
        ({"parameters": {"a": {"range": [-(2**62), 2**62]}}}, "1,000,000,000 can be at the most"),
        ({"parameters": {"a": {"linspace": [0, 1]}}}, "expected [start, stop, count]"),
        ({"parameters": {"a": {"linspace": [0, "1", 3]}}}, "parameters.a.linspace: '1': expected a number"),
        ({"parameters": {"a": {"linspace": [0, 1, 0]}}}, "count: 0: expected a whole number of 1 or more"),
        ({"parameters": {"a": {"linspace": [0, 1, 2.5]}}}, "count: 2.5: expected a whole"),
        ({"parameters": {"a": {"linspace": [-1e308, 1e308, 3]}}}, "too far apart"),
        ({"parameters": {"a": {"linspace": [0, math.inf, 3]}}}, "inf: expected a finite number"),
        ({"parameters": {"a": {"logspace": [1, 1000, 3]}}}, "exponents of 10"),
        ({"parameters": {"a": [1, math.nan]}}, "parameters.a: nan: expected a finite number"),
        ({"parameters": {"a": [[{"b": math.inf}]]}}, "parameters.a: inf"),
        ({"parameters": {"a": [{3: 4}]}}, "parameters.a: the key 3 is not a text"),
        ({"parameters": {"a": [{1, 2}]}}, "expected a number, text, true, false or null"),
        ({"parameters": {"a": 16**10_000}}, "parameters.a: 0x1000"),
        ({"parameters": {"a": {"range": [10**5]}, "b": {"range": [10**5]}}}, "10,000,000,000 points"),
        ({"parameters": {"a": [1, 2]}, "sample": 3}, "the grid has no more than 2 points"),
        ({"parameters": {"a": [1, 2]}, "sample": 0}, "sample: 0: expected a whole number of 1 or more"),
        ({"parameters": {"a": [1, 2]}, "sample": "2"}, "sample: '2'"),
        ({"parameters": {"a": {"range": [10**8]}}, "sample": SAMPLE_MOST + 1}, "expected 1 to 1,000,000"),
        ({"parameters": {"a": [1, 2]}, "sample": 1, "seed": -1}, "seed: -1"),
        ({"parameters": {"a": [1, 2]}, "seed": 7}, "seed: expected together with"),
        ({"parameters": {c: {"range": [10**9]} for c in "abc"}, "sample": 5}, "too many to draw from"),
    ],
)
def test_a_wrong_grid_is_an_error_that_names_place_and_value(document, named):
    with pytest.raises(GridError) as caught:
        read_grid(document)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
