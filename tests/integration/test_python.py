"""The user's own interpreter computes: ttgctl is not in it, and what it has is not in ttgctl's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUNCTION = """
import sys
import only_there

def f(row):
    return {"value": only_there.twice(row["x"]), "prefix": sys.prefix}
"""


@pytest.fixture
def environment(tmp_path):
    """Makes a virtual environment with one package, and nothing of ttgctl."""

    def make(folder: Path) -> Path:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        (packages,) = folder.glob("lib/python3.*/site-packages")
        (packages / "only_there.py").write_text("def twice(x):\n    return 2 * x\n")
        return folder

    return make


@pytest.fixture
def words(tmp_path):
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "pyproject.toml").write_text("")
    (project / "src" / "work.py").write_text(FUNCTION)
    Path("p.yaml").write_text("parameters: {x: {range: [4]}}\n")
    return [
        "run", "--workload", "project/src/work.py:f", "--parameters", "p.yaml", "--substrate", "local",
        "--name", "n", "--out", "o.csv",
    ]  # fmt: skip


def computed_in(folder: Path) -> None:
    rows = Path("o.csv").read_text().splitlines()
    assert rows == ["x,value,prefix", *(f"{x},{2 * x},{folder}" for x in range(4))]


@pytest.mark.case("C21")
def test_the_active_environment(ttgctl, backend, environment, words, tmp_path, monkeypatch):
    active = environment(tmp_path / "active")
    monkeypatch.setenv("VIRTUAL_ENV", str(active))
    done = ttgctl(*words, "--backend", backend)
    assert done.code == 0, done.err
    assert f"python: {active}/bin/python (VIRTUAL_ENV is active)" in done.err
    computed_in(active)


@pytest.mark.case("C21")
def test_the_environment_of_the_project(ttgctl, environment, words, tmp_path, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    own = environment(tmp_path / "project" / ".venv")
    done = ttgctl(*words, "--backend", "redis")
    assert done.code == 0, done.err
    assert f"python: {own}/bin/python (the environment of the workload's project)" in done.err
    computed_in(own)
    # A replay computes where the run did.
    again = ttgctl("replay", "n", "--name", "again")
    assert again.code == 0, again.err


@pytest.mark.parametrize("asked", ["folder", "program"])
def test_one_that_is_asked_for(ttgctl, environment, words, tmp_path, monkeypatch, asked):
    monkeypatch.setenv("VIRTUAL_ENV", str(environment(tmp_path / "active")))
    other = environment(tmp_path / "other")
    path = other if asked == "folder" else other / "bin" / "python"
    done = ttgctl(*words, "--backend", "redis", "--python", str(path))
    assert done.code == 0, done.err
    computed_in(other)


@pytest.mark.parametrize("asked", ["/no/such/python", "2.99", "/bin/true"])
def test_one_that_is_none_is_refused_before_anything_starts(ttgctl, words, asked):
    done = ttgctl(*words, "--backend", "redis", "--python", asked)
    assert done.code == 2
    assert f"--python {asked}" in done.err
    assert not ttgctl.folder("n").path.exists()


def test_what_it_lacks_is_said_before_anything_starts(ttgctl, words, monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    done = ttgctl(*words, "--backend", "redis")
    assert done.code == 2
    assert "No module named 'only_there'" in done.err
    assert not ttgctl.folder("n").path.exists()


def test_one_that_is_gone_when_the_run_goes_on_ends_it_with_a_line(
    ttgctl, environment, words, tmp_path, monkeypatch
):
    monkeypatch.setenv("VIRTUAL_ENV", str(environment(tmp_path / "active")))
    assert ttgctl(*words, "--backend", "redis").code == 0
    (tmp_path / "active").rename(tmp_path / "moved")
    again = ttgctl("replay", "n", "--name", "again")
    assert again.code not in (0, 7), again.err
    assert f"{tmp_path}/active/bin/python" in again.err
    assert "Traceback" not in again.err
    assert ttgctl.processes() == []
