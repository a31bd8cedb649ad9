from __future__ import annotations

import csv
import errno
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ttgctl.core.account.out_file import OutFileError
from ttgctl.core.account.results_file import MISSING, Row, check_not_input, check_out_path, write_results
from ttgctl.core.inputs.parameters import open_parameters

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def table(path: Path, rows: list[Row]) -> list[list[str]]:
    write_results(path, lambda: iter(rows))
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


def test_csv_has_a_column_for_each_name(tmp_path):
    rows = [
        Row({"strike": 90, "rate": 0.1}, {"call": 1.5, "put": 2}),
        Row({"strike": 100, "rate": 0.1}, {"call": 0.1, "put": None}),
    ]
    assert table(tmp_path / "a.csv", rows) == [
        ["strike", "rate", "call", "put"],
        ["90", "0.1", "1.5", "2"],
        ["100", "0.1", "0.1", ""],
    ]


def test_csv_has_one_column_where_there_are_no_names(tmp_path):
    rows = [Row(0, True), Row(1, "a, b"), Row(2, [1, {"x": None}]), Row(3, None), Row(4, 1e-300)]
    assert table(tmp_path / "a.csv", rows) == [
        ["parameter", "value"],
        ["0", "true"],
        ["1", "a, b"],
        ["2", '[1,{"x":null}]'],
        ["3", ""],
        ["4", "1e-300"],
    ]


def test_names_that_meet_are_told_apart(tmp_path):
    rows = [Row({"n": 1, "result.n": 2, "value": 3}, {"n": 4, "m": 5})]
    assert table(tmp_path / "a.csv", rows)[0] == ["n", "result.n", "value", "result.result.n", "m"]
    assert table(tmp_path / "a.csv", [Row({"value": 3}, 4)])[0] == ["value", "result.value"]


def test_a_parameter_without_a_result_keeps_its_row(tmp_path):
    rows = [Row({"a": 1}), Row({"a": 2}, {"x": 5}), Row({"a": 3}, None), Row({"a": 4}, {"y": 6})]
    assert table(tmp_path / "a.csv", rows) == [
        ["a", "x", "y"],
        ["1", "", ""],
        ["2", "5", ""],
        ["3", "", ""],
        ["4", "", "6"],
    ]
    write_results(tmp_path / "a.jsonl", lambda: rows)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"parameter": {"a": 1}},
        {"parameter": {"a": 2}, "value": {"x": 5}},
        {"parameter": {"a": 3}, "value": None},
        {"parameter": {"a": 4}, "value": {"y": 6}},
    ]
    write_results(tmp_path / "a.parquet", lambda: rows)
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pydict() == {
        "a": [1, 2, 3, 4],
        "x": [None, 5, None, None],
        "y": [None, None, None, 6],
    }


def test_values_of_mixed_kinds_are_json_in_one_column(tmp_path):
    rows = [Row(0, {"x": 1}), Row(1, 2.5), Row(2, {})]
    assert table(tmp_path / "a.csv", rows) == [
        ["parameter", "value"],
        ["0", '{"x":1}'],
        ["1", "2.5"],
        ["2", "{}"],
    ]


def test_keys_that_are_data_do_not_become_columns(tmp_path):
    rows = [Row(i, {f"key{i}": i}) for i in range(501)]
    assert table(tmp_path / "a.csv", rows)[:2] == [["parameter", "value"], ["0", '{"key0":0}']]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, -(2**63), 2**63 - 1, None], "int64"),
        ([1, 2.5, None], "double"),
        ([2**53, 0.5], "double"),
        ([True, None, False], "bool"),
        (["a", None, ""], "string"),
        ([None, None], "string"),
    ],
)
def test_parquet_has_columns_of_one_type_where_values_are_of_one(tmp_path, values, kind):
    write_results(tmp_path / "a.parquet", lambda: [Row(i, value) for i, value in enumerate(values)])
    read = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert str(read.schema.field("value").type) == kind
    assert read["value"].to_pylist() == values


@pytest.mark.parametrize(
    "values", [[1, "a"], [True, 1], [2**53 + 1, 0.5], [2**63, 1], [[1], [2, 3]], ["a", [1]]]
)
def test_parquet_has_json_text_where_no_type_holds_all_values(tmp_path, values):
    write_results(tmp_path / "a.parquet", lambda: [Row(i, value) for i, value in enumerate(values)])
    read = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert [json.loads(text) for text in read["value"].to_pylist()] == values


def test_parquet_of_more_rows_than_a_batch(tmp_path):
    write_results(tmp_path / "a.parquet", lambda: (Row({"i": i}, i / 2) for i in range(45_000)))
    read = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert read["i"].to_pylist() == list(range(45_000))
    assert read["value"].to_pylist() == [i / 2 for i in range(45_000)]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8).filter(
    lambda text: (
        not any(c.isdigit() for c in text)
        and text.strip().lower().strip("+-") not in ("nan", "inf", "infinity")
    )
)
cells = texts | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=10))
@in_one_folder
def test_a_csv_of_results_can_be_the_parameters_of_the_next_run(tmp_path, rows):
    path = tmp_path / "a.csv"
    write_results(path, lambda: [Row({"a": a, "b": b}, {"c": c}) for a, b, c in rows])
    source = open_parameters(path)
    assert source.values(range(source.total)) == [{"a": a, "b": b, "c": c} for a, b, c in rows]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.lists(st.tuples(json_values, json_values | st.just(MISSING)), min_size=1, max_size=6))
@in_one_folder
def test_whatever_the_values_every_format_has_one_row_a_parameter(tmp_path, pairs):
    rows = [Row(*pair) for pair in pairs]
    read = table(tmp_path / "a.csv", rows)
    assert len(read) == len(rows) + 1
    assert {len(row) for row in read} == {len(set(read[0]))}
    write_results(tmp_path / "a.parquet", lambda: rows)
    parquet = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert parquet.num_rows == len(rows)
    assert parquet.column_names == read[0]
    write_results(tmp_path / "a.jsonl", lambda: rows)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_bytes().splitlines()]
    assert [line["parameter"] for line in lines] == [row.parameter for row in rows]
    assert [line.get("value", MISSING) for line in lines] == [row.value for row in rows]


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("from before\n")

    def half() -> Iterator[Row]:
        yield Row(0, 0)
        assert path.read_text() == "from before\n"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(path, half)
    assert path.read_text() == "from before\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]
    write_results(path, lambda: [Row(0, 1)])
    assert path.read_text() == '{"parameter":0,"value":1}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_full_disk_is_told_by_its_name(tmp_path):
    def full() -> Iterator[Row]:
        yield Row(0, 0)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutFileError, match=r"a\.jsonl: No space left on device"):
        write_results(tmp_path / "a.jsonl", full)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.NDJSON", "a.parquet"])
def test_paths_that_can_be_written(tmp_path, name, monkeypatch):
    check_out_path(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    check_out_path(Path(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.xlsx", "expected a file with one of the endings .csv, .jsonl, .ndjson, .parquet"),
        ("a", "expected a file with one of the endings"),
    ],
)
def test_endings_that_say_no_format(tmp_path, name, said):
    with pytest.raises(OutFileError, match=said):
        check_out_path(tmp_path / name)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutFileError, match=r"pip install 'ttgctl\[parquet\]'"):
        check_out_path(tmp_path / "a.parquet")


@pytest.mark.case("C24")
def test_results_never_take_the_place_of_what_the_run_reads(tmp_path):
    parameters = tmp_path / "p.csv"
    parameters.write_text("x\n1\n")
    link = tmp_path / "link.csv"
    link.symlink_to(parameters)
    for out in (parameters, tmp_path / "." / "p.csv", link):
        with pytest.raises(OutFileError, match="is what the run reads"):
            check_not_input(out, parameters)
    check_not_input(tmp_path / "other.csv", parameters, Path("module"))
