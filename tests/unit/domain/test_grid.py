from __future__ import annotations

import itertools
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttgctl.domain.grid.axes import Axis
from ttgctl.domain.grid.draws import SAMPLE_MOST
from ttgctl.domain.grid.errors import GridError
from ttgctl.domain.grid.grid import POINTS_MOST, ParameterGrid, read_grid

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
    grid = ParameterGrid([Axis({f"axis{i}": range(length)}) for i, length in enumerate(lengths)])
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
        ParameterGrid([Axis({"a": range(2)}), Axis({"b": range(3)})]).point(index)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (None, "expected 'parameters:'"),
        ([1], "expected 'parameters:'"),
        ({"strike": [1]}, "expected 'parameters:'"),
        ({"parameters": 1}, "expected 'parameters:'"),
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


def points(document: dict[str, object]) -> list[dict[str, object]]:
    return list(read_grid(document))


def test_axes_of_a_zip_go_together_and_are_crossed_with_the_others():
    block = {"strike": [90, 100], "zip": {"rate": [0.1, 0.2, 0.3], "name": ["a", "b", "c"]}}
    found = points({"parameters": block})
    assert len(found) == 6
    assert found[0] == {"strike": 90, "rate": 0.1, "name": "a"}
    assert {(point["rate"], point["name"]) for point in found} == {(0.1, "a"), (0.2, "b"), (0.3, "c")}
    assert list(found[0]) == ["strike", "rate", "name"]


def test_zip_takes_the_forms_of_other_axes_and_may_be_an_axis_itself():
    ranges = {"zip": {"a": {"range": [3]}, "b": {"linspace": [0, 1, 3]}}}
    assert points({"parameters": ranges})[2] == {"a": 2, "b": 1.0}
    assert points({"parameters": {"zip": {"range": [2]}}}) == [{"zip": 0}, {"zip": 1}]
    assert points({"parameters": {"zip": ["x"]}}) == [{"zip": "x"}]


def test_blocks_follow_each_other():
    blocks = [{"model": "heston", "steps": [10, 20]}, {"model": "sabr", "beta": [0.5]}]
    assert points({"parameters": blocks}) == [
        {"model": "heston", "steps": 10}, {"model": "heston", "steps": 20}, {"model": "sabr", "beta": 0.5}
    ]  # fmt: skip
    drawn = points({"parameters": blocks, "sample": 2, "seed": 3})
    assert len(drawn) == 2
    assert all(point in points({"parameters": blocks}) for point in drawn)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("a < b", [(1, 2), (1, 3), (2, 3)]),
        ("not a < b and a != 3", [(1, 1), (2, 1), (2, 2)]),
        ("1 < a <= b", [(2, 2), (2, 3), (3, 3)]),
        ("a * 2 + b % 2 == 5", [(2, 1), (2, 3)]),
        ("a in [1, 3] and b in (2,)", [(1, 2), (3, 2)]),
        ("max(a, b) - min(a, b) >= 2", [(1, 3), (3, 1)]),
        ("abs(a - b) == 2 or a == -1", [(1, 3), (3, 1)]),
    ],
)
def test_where_keeps_the_points_of_which_it_is_true(where, expected):
    document = {"parameters": {"a": [1, 2, 3], "b": [1, 2, 3]}, "where": where}
    assert [tuple(point.values()) for point in points(document)] == expected


def test_a_sample_is_of_those_that_where_keeps():
    document = {"parameters": {"a": {"range": [100]}}, "where": "a >= 90", "sample": 10}
    assert [point["a"] for point in points(document)] == list(range(90, 100))


DRAWN = {
    "u": {"uniform": [2, 4]}, "l": {"loguniform": [0.001, 10]}, "n": {"normal": [5, 2]},
    "c": {"choice": ["x", "y"]}, "s": [1, 2, 3],
}  # fmt: skip


@pytest.mark.parametrize("method", ["random", "lhs", "sobol"])
def test_what_is_drawn_keeps_to_its_distribution_and_is_the_same_for_a_seed(method):
    document = {"parameters": DRAWN, "sample": 500, "method": method, "seed": 7}
    found = points(document)
    assert len(found) == 500
    assert all(2 <= p["u"] < 4 and 0.001 <= p["l"] <= 10 and p["c"] in "xy" for p in found)
    assert 2.9 < sum(p["u"] for p in found) / 500 < 3.1
    assert 180 < sum(p["l"] < 0.1 for p in found) < 320
    assert 4.6 < sum(p["n"] for p in found) / 500 < 5.4
    assert {p["s"] for p in found} == {1, 2, 3}
    assert found == points(document)
    assert found != points({**document, "seed": 8})
    assert read_grid(document).point(77) == found[77]


def test_a_latin_hypercube_has_one_point_in_each_slice():
    found = points({"parameters": {"x": {"uniform": [0, 100]}}, "sample": 100, "method": "lhs"})
    assert sorted(int(point["x"]) for point in found) == list(range(100))


def test_random_draws_go_on_until_as_many_satisfy_where_as_are_wanted():
    document = {"parameters": {"x": {"uniform": [0, 1]}}, "sample": 200, "where": "x > 0.9"}
    found = [point["x"] for point in points(document)]
    assert len(found) == 200
    assert min(found) > 0.9
    with pytest.raises(GridError, match="where: true of 0 of"):
        read_grid({**document, "where": "x > 2"})


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"parameters": {"zip": {"a": [1], "b": [1, 2]}}}, "parameters.zip: a has 1, b has 2"),
        ({"parameters": {"zip": {}}}, "parameters.zip: expected names"),
        ({"parameters": {"a": [1], "zip": {"a": [1]}}}, "parameters.a is there twice"),
        ({"parameters": []}, "expected at least one block"),
        ({"parameters": [3]}, "parameters, block 1: 3"),
        ({"parameters": [{"a": [1]}, {"a": []}]}, "parameters, block 2, a has no values"),
        ({"parameters": {"a": {"uniform": [0, 1]}}}, "add  sample: COUNT"),
        ({"parameters": {"a": {"uniform": [1, 1]}}, "sample": 1}, "a low end below the high one"),
        ({"parameters": {"a": {"uniform": [0, math.inf]}}, "sample": 1}, "inf: expected a finite number"),
        ({"parameters": {"a": {"loguniform": [0, 1]}}, "sample": 1}, "a low end above 0"),
        ({"parameters": {"a": {"normal": [0, 0]}}, "sample": 1}, "deviation above 0"),
        ({"parameters": {"a": {"choice": []}}, "sample": 1}, "expected a list of values"),
        ({"parameters": {"zip": {"a": {"uniform": [0, 1]}}}, "sample": 1}, "take it out of zip"),
        ({"parameters": {"a": [1]}, "sample": 1, "method": "grid"}, "method: 'grid': expected one of random"),
        ({"parameters": {"a": [1]}, "method": "lhs"}, "method: expected together with"),
        ({"parameters": {"a": [1]}, "where": "b > 1"}, "'b' is no parameter; there are a"),
        ({"parameters": {"a": [1]}, "where": "a >"}, "is no condition"),
        ({"parameters": {"a": [1]}, "where": 3}, "expected a condition as text"),
        ({"parameters": {"a": [1]}, "where": "a > 1"}, "true of no point"),
        ({"parameters": {"a": ["x"]}, "where": "a > 1"}, "where: a > 1: '>' not supported"),
        ({"parameters": {"a": [1]}, "where": "1 / (a - 1) > 0"}, "division by zero"),
        ({"parameters": {"a": ["x"]}, "where": "a * 1000000000 == a"}, "no number to reckon with"),
        ({"parameters": {"a": [1]}, "where": "__import__('os').system('true')"}, "can't be part of a"),
        ({"parameters": {"a": [1]}, "where": "a.real > 0"}, "'a.real' can't be part"),
        ({"parameters": {"a": [1]}, "where": "9 ** 9 ** 9 > a"}, "can't be part"),
        ({"parameters": {"a": [1]}, "where": "(" * 500 + "a" + ")" * 500}, "is no condition"),
    ],
)  # fmt: skip
def test_what_can_not_be_drawn_or_asked_is_named(document, named):
    with pytest.raises(GridError) as caught:
        read_grid(document)
    assert named in str(caught.value)
