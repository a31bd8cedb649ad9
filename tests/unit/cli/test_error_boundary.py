"""What a user did wrong, or the machine did to them, is one line and an exit code, never a traceback."""

from __future__ import annotations

import pytest
import typer

from ttgctl.cli import app
from ttgctl.cli.commands import doctor, runs
from ttgctl.core.records.run_folder import run_folder
from ttgctl.domain.run import RunSpec

SPEC = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=4, chunk_size=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A run in a state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = run_folder("r")
    folder.write_spec(SPEC)
    return folder


@pytest.fixture
def ttgctl(capfd):
    def run(*arguments: str) -> tuple[int, str]:
        code = app._run(list(arguments))
        return code, capfd.readouterr().err

    return run


def test_a_bundle_that_can_not_be_written(ttgctl, tmp_path):
    out = tmp_path / "nowhere" / "r.tar.gz"
    assert ttgctl("export", "r", "--out", str(out)) == (
        2,
        f"error: {out}: there is no folder {out.parent}; make it first\n",
    )


def test_events_that_are_damaged(ttgctl, folder):
    folder.events.write_text("garbage\n")
    code, said = ttgctl("report", "r")
    assert code == 2
    assert said.startswith(f"error: {folder.events}, line 1: not an event")


def test_a_run_of_another_version(ttgctl, folder):
    folder.run_json.write_text("{}")
    code, said = ttgctl("verify", "r")
    assert code == 2
    assert said.startswith(f"error: {folder.run_json}: Object missing required field")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (KeyboardInterrupt(), "interrupted\n"),
        (KeyboardInterrupt("interrupted; all is removed"), "interrupted; all is removed\n"),
        (typer.Abort(), "interrupted\n"),
    ],
)
def test_a_command_that_is_interrupted_says_so(ttgctl, monkeypatch, ended, said):
    def interrupted() -> int:
        raise ended

    monkeypatch.setattr(runs, "runs", interrupted)
    assert ttgctl("runs") == (130, said)


def test_what_nobody_foresaw_is_a_bug_with_its_traceback(ttgctl, monkeypatch):
    def broken() -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "doctor", broken)
    code, said = ttgctl("doctor")
    assert code == 1
    assert "RuntimeError: boom" in said
    assert said.endswith("error: this is a bug in ttgctl; the lines above say where\n")


@pytest.mark.parametrize("command", [["runs"], ["cleanup", "--all", "--dry-run", "--substrate", "local"]])
def test_a_damaged_run_hides_no_other(ttgctl, folder, command):
    damaged = run_folder("damaged")
    damaged.write_spec(SPEC)
    damaged.run_json.write_text("{}")
    code, said = ttgctl(*command)
    assert code == 0
    assert said.startswith(f"passed over: {damaged.run_json}: ")
    assert said.count("\n") == 1
