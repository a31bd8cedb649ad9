"""Parameters that are no file: axes on the command line, and stdin."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FUNCTION = "def f(p):\n    return p if isinstance(p, int) else sorted(p.items())[0][1]\n"


@pytest.fixture
def words(ttgctl):
    Path("w.py").write_text(FUNCTION)
    return ["run", "--workload", "w.py:f", "--substrate", "local", "--name", "n", "--out", "o.csv"]


def rows() -> list[str]:
    return Path("o.csv").read_text().splitlines()


def test_axes_of_the_command_line_are_crossed(ttgctl, backend, words):
    done = ttgctl(*words, "--backend", backend, "-p", "rate=0.5,high", "-p", "seed=3..1")
    assert done.code == 0, done.err
    assert rows() == [
        "rate,seed,value",
        "0.5,3,0.5", "0.5,2,0.5", "0.5,1,0.5", "high,3,high", "high,2,high", "high,1,high",
    ]  # fmt: skip
    again = ttgctl("replay", "n", "--name", "again")
    assert again.code == 0, again.err


@pytest.mark.parametrize(("given", "first"), [("1\n2\n\n3\n", "1,1"), ("x,y\n7,a\n8,b\n", "7,a,7")])
def test_stdin_has_json_lines_or_csv(ttgctl, words, given, first):
    done = subprocess.run(
        [ttgctl.program, *words, "--backend", "redis", "--parameters", "-"],
        input=given, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert rows()[1] == first


def test_a_dry_run_shows_the_first_and_the_last_parameters(ttgctl, words):
    done = ttgctl(*words, "--backend", "redis", "-p", "x=0..99", "--dry-run")
    assert done.code == 0, done.err
    assert "100 parameters in 100 chunks" in done.out
    assert '{"x":4}' in done.out
    assert '{"x":95}' in done.out
    assert '{"x":50}' not in done.out
    assert "tried 3 of them here" in done.out
    assert ttgctl("runs", "-o", "json").out.strip() == "[]"


def test_a_dry_run_tries_some_parameters_and_names_those_that_fail(ttgctl, words):
    Path("w.py").write_text("def f(p):\n    return 1 / (99 - p['x'])\n")
    done = ttgctl(*words, "--backend", "redis", "-p", "x=0..99", "--dry-run", "--try", "2")
    assert done.code == 8
    assert "tried 2 of them here" in done.out
    assert "parameter 99: ZeroDivisionError: division by zero" in done.out
    untried = ttgctl(*words, "--backend", "redis", "-p", "x=0..99", "--dry-run", "--try", "0")
    assert untried.code == 0
    assert "tried" not in untried.out
    assert ttgctl.processes() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "expected either --parameters FILE, or -p NAME=VALUES"),
        (["-p", "x=1", "--parameters", "p.csv"], "expected either --parameters FILE, or -p"),
        (["-p", "x"], "-p x: expected NAME=VALUES"),
        (["-p", "x="], "expected NAME=VALUES"),
        (["-p", "x=1", "-p", "x=2"], "x is there twice"),
        (["-p", "x=0..9..-1"], "the step does not lead from 0 to 9"),
        (["-p", "x=1e999"], "too large a number"),
        (["--parameters", "-"], "nothing came from stdin"),
    ],
)
def test_what_makes_no_sense_is_one_line(ttgctl, words, given, said):
    done = ttgctl(*words, *given)
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert said in line
