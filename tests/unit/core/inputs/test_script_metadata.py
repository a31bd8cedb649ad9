from __future__ import annotations

import pytest

from ttgctl.core.inputs.script_metadata import ScriptMetadataError, read_script_metadata

BLOCK = """#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy>=2",
#   "scipy",
# ]
# ///
import numpy
"""


def written(tmp_path, text):
    path = tmp_path / "w.py"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_script_needs(tmp_path, end):
    found = read_script_metadata(written(tmp_path, BLOCK.replace("\n", end)))
    assert (found.dependencies, found.requires_python) == (("numpy>=2", "scipy"), ">=3.11")


@pytest.mark.parametrize(
    "text", ["", "x = 1\n", "# /// other\n# a = 1\n# ///\n", "# /// script\n# a = 1\nx = 1\n"]
)
def test_a_script_that_says_nothing(tmp_path, text):
    assert read_script_metadata(written(tmp_path, text)) is None


def test_a_block_may_leave_both_out(tmp_path):
    found = read_script_metadata(written(tmp_path, "# /// script\n#\n# ///\n"))
    assert (found.dependencies, found.requires_python) == ((), None)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("# dependencies = [", "no TOML"),
        ('# dependencies = "numpy"', "expected  dependencies ="),
        ("# requires-python = 3.11", "expected  requires-python ="),
        ("# a = 1\n# ///\n\n# /// script\n# b = 1", "two blocks"),
    ],
)
def test_what_can_not_be_read_is_named(tmp_path, lines, said):
    with pytest.raises(ScriptMetadataError) as caught:
        read_script_metadata(written(tmp_path, f"# /// script\n{lines}\n# ///\n"))
    assert said in str(caught.value)
    assert "w.py" in str(caught.value)
