"""Packages that a function asks for are installed for it, into an environment of their own."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

METADATA = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["only-there==1.0"]\n# ///\n'
FUNCTION = "import only_there\n\ndef f(p):\n    return only_there.twice(p['x'])\n"


def wheel(folder: Path, version: str) -> None:
    """A package that no index has."""
    name = f"only_there-{version}"
    files = {
        "only_there.py": "def twice(x):\n    return 2 * x\n",
        f"{name}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: only-there\nVersion: {version}\n",
        f"{name}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{name}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Of uv's settings those that make it look into this folder and nowhere else; a cache of our own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "1.0")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def words(ttgctl):
    return [
        "run",
        "--workload",
        "w.py:f",
        "-p",
        "x=1..3",
        "--substrate",
        "local",
        "--name",
        "n",
        "--out",
        "o.csv",
    ]


def values() -> list[str]:
    return [row.split(",")[1] for row in Path("o.csv").read_text().splitlines()[1:]]


def test_script_metadata_is_enough_and_a_replay_uses_the_lock(ttgctl, backend, words, packages, tmp_path):
    Path("w.py").write_text(METADATA + FUNCTION)
    done = ttgctl(*words, "--backend", backend)
    assert done.code == 0, done.err
    assert "(1 package, by the script metadata of w.py)" in done.err
    assert values() == ["2", "4", "6"]
    assert "only-there==1.0" in ttgctl.folder("n").packages.read_text()
    # A newer one changes nothing, nor does it that the environment was tidied away.
    wheel(packages, "1.1")
    shutil.rmtree(tmp_path / "cache" / "ttgctl")
    again = ttgctl("replay", "n", "--name", "again")
    assert again.code == 0, again.err
    assert "packages: installed again" in again.err
    assert "only-there==1.0" in ttgctl.folder("again").packages.read_text()


@pytest.mark.parametrize("how", ["with", "requirements"])
def test_packages_named_beside_the_function(ttgctl, words, packages, how):
    Path("w.py").write_text(FUNCTION)
    Path("r.txt").write_text("only-there\n")
    given = ["--with", "only-there"] if how == "with" else ["--requirements", "r.txt"]
    done = ttgctl(*words, "--backend", "redis", *given)
    assert done.code == 0, done.err
    assert values() == ["2", "4", "6"]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--with", "only-there==9"], 3, "only-there==9"),
        (["--with", "not a requirement"], 3, "the packages can't be had here"),
        (["--requirements", "none.txt"], 2, "there is no such file"),
        (["--with", "only-there", "--python", "3.99"], 3, "Python 3.99 can't be had here"),
    ],
)
def test_what_can_not_be_had_ends_before_anything_starts(ttgctl, words, packages, given, code, said):
    Path("w.py").write_text(FUNCTION)
    done = ttgctl(*words, "--backend", "redis", *given)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert not ttgctl.folder("n").path.exists()
