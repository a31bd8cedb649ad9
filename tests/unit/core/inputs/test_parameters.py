from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ttgctl.core.inputs.parameter_error import ParameterError
from ttgctl.core.inputs.parameters import open_parameters

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

# What a CSV cell can be beside a number; a lone carriage return is no line end to everyone.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12).filter(
    lambda text: not any(c.isdigit() for c in text) and text.strip().lower().strip("+-") not in NO_NUMBERS
)
NO_NUMBERS = {"nan", "inf", "infinity"}
cells = texts | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False)
column_names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=";"), min_size=1
).map(str.strip)


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def everything(path: Path) -> list[object]:
    source = open_parameters(path)
    return source.values(range(source.total))


def test_without_a_file_the_parameters_are_the_indices():
    source = open_parameters(None, total=10**12)
    assert source.total == 10**12
    assert source.values(range(10**11, 10**11 + 3)) == [10**11, 10**11 + 1, 10**11 + 2]
    with pytest.raises(ParameterError, match="number of parameters must be given"):
        open_parameters(None)


def test_a_yaml_grid(tmp_path):
    path = written(
        tmp_path,
        "sweep.yaml",
        """\
        parameters:
          strike: [90, 100]
          rate: {linspace: [0.0, 0.5, 2]}
          tolerance: 1e-3   # text to YAML 1.1
          country: no       # false to YAML 1.1
          day: 2026-01-01   # a date to YAML 1.1
          "on": [yes, 1:30, 010, 0x10, ~, true]
        """,
    )
    source = open_parameters(path)
    assert source.total == 24
    assert source.values(range(1)) == [
        {"strike": 90, "rate": 0.0, "tolerance": 0.001, "country": "no", "day": "2026-01-01", "on": "yes"}
    ]
    assert [point["on"] for point in source.values(range(6))] == ["yes", "1:30", 10, 16, None, True]
    assert source.values(range(22, 24)) == everything(path)[22:]


def test_csv_cells_that_are_numbers_become_numbers(tmp_path):
    path = written(tmp_path, "a.csv", "n, x ,code,text\n7,-1.5,007,\n 8 ,2e-3,1_0,4 pieces\n+9,.5,1e,0x1\n")
    assert everything(path) == [
        {"n": 7, "x": -1.5, "code": "007", "text": ""},
        {"n": 8, "x": 0.002, "code": "1_0", "text": "4 pieces"},
        {"n": "+9", "x": 0.5, "code": "1e", "text": "0x1"},
    ]
    assert [type(value) for value in everything(path)[0].values()] == [int, float, str, str]


def test_csv_cells_that_would_not_print_back_are_numbers_among_numbers_alone(tmp_path):
    rows = "price,version,phone,size\n1.10,1.10,+491234567,1E5\n2.50,2.x,+491234568,\n3,3,0,7\n"
    assert everything(written(tmp_path, "a.csv", rows)) == [
        {"price": 1.1, "version": "1.10", "phone": "+491234567", "size": 1e5},
        {"price": 2.5, "version": "2.x", "phone": "+491234568", "size": ""},
        {"price": 3, "version": 3, "phone": 0, "size": 7},
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_csv_as_spreadsheets_write_it(tmp_path, mark, end):
    lines = [b'name,"a, b"', b'"two', b'lines",1', b"", b'"say ""so""",2', b""]
    path = written(tmp_path, "a.csv", mark + end.join(lines))
    two_lines = b"two" + end + b"lines"
    assert everything(path) == [
        {"name": two_lines.decode(), "a, b": 1},
        {"name": 'say "so"', "a, b": 2},
    ]


@given(
    names=st.lists(column_names.filter(bool), min_size=1, max_size=4, unique=True),
    data=st.data(),
    end=st.sampled_from(["\n", "\r\n"]),
)
@in_one_folder
def test_csv_gives_back_any_range_of_what_was_written(tmp_path, names, data, end):
    width = len(names)
    rows = data.draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end)
    writer.writerows([names, *rows])
    source = open_parameters(written(tmp_path, "a.csv", text.getvalue()))
    assert source.total == len(rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert source.values(range(start, stop)) == [
        dict(zip(names, row, strict=True)) for row in rows[start:stop]
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    # U+2028 and its like end no line here, though str.splitlines() takes them for ends.
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["\u2028", "\x85", "\r"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=6,
)


@given(rows=st.lists(json_values, min_size=1, max_size=8), ascii=st.booleans(), data=st.data())
@in_one_folder
def test_json_lines_give_back_any_range_of_what_was_written(tmp_path, rows, ascii, data):
    text = "\n\n".join(json.dumps(row, ensure_ascii=ascii) for row in rows)
    source = open_parameters(written(tmp_path, "a.jsonl", text))
    assert source.total == len(rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert source.values(range(start, stop)) == rows[start:stop]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\n1\n", "line 1: empty"),
        ("a.csv", "a,b\n", "no row below the names"),
        ("a.csv", "a,a\n1,2\n", "line 1: two columns are named 'a'"),
        ("a.csv", "a,\n1,2\n", "line 1: column 2 has no name"),
        ("a.csv", "a;b\n1;2\n", "separated by commas"),
        ("a.csv", "a,b\n1,2\n3\n", "line 3: 1 cells, but 2 names"),
        ("a.csv", "a,b\n1,2,3\n", "line 2: 3 cells, but 2 names"),
        ("a.csv", 'a,b\n"x\ny",1\n2,nan\n', "line 4: nan is no number"),
        ("a.csv", "a\n-Infinity\n", "line 2: -Infinity is no number"),
        ("a.csv", "a\n1e999\n", "line 2: 1e999 is too large"),
        ("a.csv", f"a\n{'9' * 5000}\n", "is too large a number"),
        ("a.csv", 'a\n"never closed\n', "line 2: unexpected end of data"),
        ("a.csv", 'a\n"b" c\n', "line 2: ',' expected"),
        ("a.csv", f"a\n{'x' * 200_000}\n", "line 2: field larger than field limit"),
        ("a.csv", b"a\n\xff\n", "line 2: not UTF-8 text"),
        ("a.csv", "a\n1\n".encode("utf-16"), "line 1: not UTF-8 text"),
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\n\n", "is empty"),
        ("a.jsonl", "1\n\n{\n", "line 3: Input data was truncated"),
        ("a.jsonl", "1 2\n", "line 1: JSON is malformed"),
        ("a.jsonl", '{"a": NaN}\n', "line 1: JSON is malformed"),
        ("a.ndjson", "1e999\n", "line 1: Number out of range"),
        ("a.ndjson", "[" * 5000 + "\n", "line 1: maximum recursion depth"),
        ("a.ndjson", b"1\n\xff\n", "line 2: not UTF-8 text"),
        ("a.yaml", "", "expected 'parameters:'"),
        ("a.yaml", "parameters: {a: [1, .nan]}", "parameters.a: nan: expected a finite number"),
        ("a.yaml", "parameters:\n  a: 1\n  a: 2\n", "line 3: 'a' is there twice"),
        ("a.yaml", "parameters:\n  a: [1\n", "line 3: while parsing a flow sequence"),
        ("a.yaml", "parameters: {a: 1}\n---\nb: 1\n", "line 2: expected a single document"),
        ("a.yaml", "parameters: {a: &x [1], b: *x}", "line 1: *x: aliases are not accepted"),
        ("a.yaml", "parameters: {a: !!python/name:os.system }", "line 1: tag:yaml.org"),
        ("a.yaml", "parameters: {a: !!bool maybe }", "tags are not accepted"),
        ("a.yaml", "parameters: {[a]: 1}", "line 1: while constructing a mapping, found unhashable key"),
        ("a.yaml", f"parameters: {{a: {'9' * 5000}}}", "line 1: 9999"),
        ("a.yaml", "[" * 5000, "nested too deeply"),
        ("a.yaml", "parameters: \0", "special characters are not allowed"),
        ("a.yaml", b"parameters: \xff", "not UTF-8 text"),
        ("a.json", "[]", "expected a file with one of the endings .yaml, .yml, .csv, .jsonl, .ndjson"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_line(tmp_path, name, text, said):
    path = written(tmp_path, name, text)
    with pytest.raises(ParameterError) as caught:
        open_parameters(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    with pytest.raises(ParameterError, match="No such file"):
        open_parameters(tmp_path / "a.csv")
    for name in ("a.csv", "a.yaml", "a.jsonl"):
        (tmp_path / name).mkdir()
        with pytest.raises(ParameterError, match="Is a directory"):
            open_parameters(tmp_path / name)


def test_a_file_must_give_as_many_parameters_as_the_run_began_with(tmp_path):
    path = written(tmp_path, "a.csv", "a\n1\n2\n")
    assert open_parameters(path, total=2).total == 2
    with pytest.raises(ParameterError, match="gives 2 parameters, expected were 3"):
        open_parameters(path, total=3)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_file_that_changes_after_it_was_opened_is_noticed(tmp_path, name):
    path = written(tmp_path, name, "100\n200\n300\n")
    source = open_parameters(path)
    written(tmp_path, name, "1\n\n\n\n\n\n\n\n\n\n\n\n")
    with pytest.raises(ParameterError, match="no longer what it was"):
        source.values(range(source.total))
    path.unlink()
    with pytest.raises(ParameterError, match="No such file"):
        source.values(range(1))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_large_file_is_not_held_in_memory(tmp_path, name):
    path = tmp_path / name
    with path.open("w") as file:
        file.write("i\n" if name == "a.csv" else "0\n")
        file.writelines(f"{i}\n" for i in range(100_000))
    tracemalloc.start()
    source = open_parameters(path)
    assert source.values(range(99_998, 100_000))
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000 * 8 * 1.3
    assert most < 100_000 * 8 * 3


# Pieces that mean something to YAML, put together in ways that mostly mean nothing.
WORDS = ["parameters", "sample", "seed", "range", "linspace", "logspace", "null", "a", "true"]
NUMBERS = ["0", "1e9", "-1", "99999999999999999999", "0x", ".nan", ".inf"]
SIGNS = ["&a", "*a", "!!set", "<<", "---", "- ", "\n  ", *": -[]{},'\"!?|>%~#@\\\t\n"]
yaml_pieces = st.lists(st.sampled_from([*WORDS, *NUMBERS, *SIGNS])).map("".join)


@given(
    text=st.binary()
    | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
    | yaml_pieces.map(str.encode),
    prefix=st.sampled_from(
        [b"", b"parameters:\n  a: ", b"parameters: {a: ", b"a,b\n", b'{"a": ', b"\xef\xbb\xbf"]
    ),
    name=st.sampled_from(["a.yaml", "a.csv", "a.jsonl"]),
)
@settings(in_one_folder, max_examples=500)
def test_any_file_gives_parameters_that_can_travel_or_a_parameter_error(tmp_path, text, prefix, name):
    path = written(tmp_path, name, prefix + text)
    try:
        source = open_parameters(path)
    except ParameterError as error:
        refusal = str(error)
    else:
        head = source.values(range(min(source.total, 50)))
        assert msgspec.json.decode(msgspec.json.encode(head)) == head
        return
    assert refusal.startswith(str(path))
    assert "\n" not in refusal
