"""What a function returns, as JSON at the moment of its return, and read back."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import uuid

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker.compute import values
from ttg_worker.compute.values import ValueRefused, encode
from ttgctl.core.account.stored_values import decode_values, json_value


class Text(str):
    def __str__(self):
        return "printed"


class Number(int):
    def __repr__(self):
        return "a number"


class Real(float):
    def __repr__(self):
        return "a real"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: list


@pytest.mark.parametrize(
    ("value", "as_json"),
    [
        (None, "null"),
        (True, "true"),
        ("null", '"null"'),
        ("a\nb\u2028\x7f", '"a\\nb\u2028\x7f"'),
        (10**30, "1" + "0" * 30),
        (-0.0, "-0.0"),
        (1e300, "1e+300"),
        ({"a": [1.5, None]}, '{"a":[1.5,null]}'),
        ((1, (2,)), "[1,[2]]"),
        (math.nan, '{"$float":"nan"}'),
        ([math.inf, -math.inf], '[{"$float":"inf"},{"$float":"-inf"}]'),
        ({"$float": "nan"}, '{"$dict":{"$float":"nan"}}'),
        ({"$dict": {}}, '{"$dict":{"$dict":{}}}'),
        ({"$float": 1, "b": 2}, '{"$float":1,"b":2}'),
        ({2: "a", None: "b", 1.5: "c"}, '{"2":"a","null":"b","1.5":"c"}'),
        (Text("kept"), '"kept"'),
        (Number(7), "7"),
        (Real(1.5), "1.5"),
        (Real("nan"), '{"$float":"nan"}'),
        (Colour.RED, '"red"'),
        (Level.HIGH, "3"),
        (Point(1, [2]), '{"x":1,"y":[2]}'),
        (b"\x00\xff", '"AP8="'),
        (pathlib.Path("/a/b"), '"/a/b"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (datetime.date(2026, 2, 9), '"2026-02-09"'),
        (datetime.datetime(2026, 2, 9, 1, 2), '"2026-02-09T01:02:00"'),
        (datetime.timedelta(seconds=1.5), '"PT1.5S"'),
        (numpy.float64(0.1), "0.1"),
        (numpy.float64("nan"), '{"$float":"nan"}'),
        (numpy.int32(7), "7"),
        (numpy.bool_(True), "true"),
        (numpy.array([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
        (numpy.array([1.0, numpy.inf]), '[1.0,{"$float":"inf"}]'),
        ({"x": numpy.float32(1.5)}, '{"x":1.5}'),
    ],
)
def test_values_that_can_be_kept(value, as_json):
    if as_json is not None:
        assert encode(value).decode() == as_json
    assert b"\n" not in encode(value)
    assert len(msgspec.json.decode(b"[" + encode(value) + b"]")) == 1


_itself: list[object] = []
_itself.append(_itself)


def _generator():
    yield 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "a set has no order"),
        ([frozenset()], "a set has no order"),
        (1j, "JSON has no complex numbers"),
        (numpy.complex128(1j), "JSON has no complex numbers"),
        (object(), "JSON can't hold object"),
        ({"f": lambda: None}, "JSON can't hold function"),
        (int, "JSON can't hold type"),
        (_generator(), "generator is no value yet"),
        ("\ud800", "lone surrogate"),
        ({"\udce9": 1}, "lone surrogate"),
        ({(1, 2): 3}, "a key of a dict is tuple"),
        ({1: "a", "1": "b"}, "two keys of a dict are the same text"),
        (_itself, "contains itself"),
        ("x" * (values.VALUE_BYTES + 1), "bytes as JSON and may have"),
    ],
)
def test_values_that_can_not_be_kept_say_why(value, said):
    with pytest.raises(ValueRefused, match=said):
        encode(value)


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "$float", "$dict"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=4))
def test_whatever_json_has_and_floats_come_back_as_they_were(given_values):
    array = b"[" + b",".join(map(encode, given_values)) + b"]"
    assert repr(decode_values(array)) == repr(given_values)


def test_in_json_numbers_without_a_word_are_the_texts_of_protobuf():
    assert json_value([math.nan, {"a": math.inf}, -math.inf, -0.0]) == [
        "NaN",
        {"a": "Infinity"},
        "-Infinity",
        0,
    ]
