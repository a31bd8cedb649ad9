from __future__ import annotations

import datetime
import math

import pyarrow
import pytest
from pyarrow import feather, parquet

from ttgctl.core.inputs.parameter_error import ParameterError
from ttgctl.core.inputs.parameters import open_parameters

ROWS = [
    {"x": number, "y": number / 4 if number % 3 else None, "name": f"n{number}", "on": bool(number % 2),
     "list": [number], "nested": {"a": number}}
    for number in range(25)
]  # fmt: skip


def written(path, rows):
    table = pyarrow.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=10)
    elif path.suffix == ".arrow":
        with pyarrow.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=10)
    else:
        feather.write_feather(table, str(path))
    return path


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_rows_are_dicts_by_column_in_any_range(tmp_path, ending):
    source = open_parameters(written(tmp_path / f"p.{ending}", ROWS))
    assert source.total == 25
    assert source.values(range(25)) == ROWS
    assert source.values(range(8, 23)) == ROWS[8:23]
    assert source.values(range(3, 4)) == ROWS[3:4]
    assert source.values(range(20, 20)) == []


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"x": 1.0}] * 11 + [{"x": math.nan}], "row 11, column 'x': nan is no number"),
        ([{"x": math.inf}], "row 0, column 'x': inf"),
        ([{"day": datetime.date(2026, 1, 1)}], "column 'day' is date32[day]; expected numbers"),
        ([{"raw": b"x"}], "column 'raw' is binary"),
        ([{"deep": [{"raw": b"x"}]}], "column 'deep'"),
    ],
)
def test_values_that_can_not_travel_are_named(tmp_path, ending, rows, said):
    with pytest.raises(ParameterError) as caught:
        open_parameters(written(tmp_path / f"p.{ending}", rows))
    assert said in str(caught.value)


def test_no_rows_and_no_such_format_are_named(tmp_path):
    empty = tmp_path / "e.parquet"
    parquet.write_table(pyarrow.table({"x": pyarrow.array([], pyarrow.int64())}), empty)
    with pytest.raises(ParameterError, match="no row"):
        open_parameters(empty)
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"x,y\n1,2\n")
    with pytest.raises(ParameterError, match=r"b\.parquet"):
        open_parameters(broken)
    with pytest.raises(ParameterError, match="No such file"):
        open_parameters(tmp_path / "none.parquet")
