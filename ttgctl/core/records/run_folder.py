"""Where runs are kept on this machine: one folder a run under the XDG state directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from ttgctl.core.inputs.parameters import ParameterSource, open_parameters
from ttgctl.domain.run import RunSpec

WORKLOAD: Final = "workload"


class UnknownRun(LookupError):
    """No such run on this machine; names the ones that come nearest or how to list them."""


class DamagedRun(Exception):
    """A run's ``run.json`` is not what this version writes; names the file and what is wrong."""


class RunFolder:
    """The files of one run: ``run.json``, ``events.ndjson``, ``ledger.sqlite``, ``report.md``;
    ``input/`` has the parameters, and in ``input/workload/`` the files of the workload, as they
    were at the start; ``logs/`` what local workers wrote, ``local/`` the storage of a local
    broker, which goes with the run's cleanup."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_json = path / "run.json"
        self.events = path / "events.ndjson"
        self.ledger = path / "ledger.sqlite"
        self.report = path / "report.md"
        self.input = path / "input"
        self.workload = self.input / WORKLOAD
        # What was installed for the function, with versions and hashes.
        self.packages = self.input / "requirements.lock"
        self.local = path / "local"
        self.logs = path / "logs"
        self.lock = path / "lock"
        self.broker_url = path / "broker-url"

    @property
    def run_id(self) -> str:
        return self.path.name

    def read_spec(self) -> RunSpec:
        """Raises :class:`DamagedRun`."""
        try:
            return msgspec.json.decode(self.run_json.read_bytes(), type=RunSpec)
        except msgspec.DecodeError as error:
            raise DamagedRun(
                f"{self.run_json}: {error}; another version of ttgctl may have written it, "
                f"or remove {self.path} to be rid of the run"
            ) from error

    def read_broker_url(self) -> str | None:
        """The URL, with its password, of a broker that was there before the run."""
        return self.broker_url.read_text().strip() if self.broker_url.is_file() else None

    def write_broker_url(self, url: str) -> None:
        """For this user's eyes alone."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.broker_url.touch(mode=0o600)
        self.broker_url.write_text(url + "\n")

    def source(self, spec: RunSpec) -> ParameterSource:
        """The run's parameters as they were at its start."""
        name = spec.parameter_source
        path = None if name is None else self.input / name
        return open_parameters(path, total=spec.parameters_total)

    def write_spec(self, spec: RunSpec) -> None:
        """Whole or not at all: a reader never sees half of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        part = self.run_json.with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(spec), indent=2) + b"\n")
        part.rename(self.run_json)


def state_folder() -> Path:
    """``$XDG_STATE_HOME/ttgctl``, readable by this user alone."""
    path = platformdirs.user_state_path("ttgctl")
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def run_folder(run_id: str) -> RunFolder:
    """The folder of a run, whether it exists or not."""
    return RunFolder(state_folder() / "runs" / run_id)


def list_runs() -> list[RunFolder]:
    """All runs of this machine, newest first."""
    runs = state_folder() / "runs"
    with_time = []
    for entry in os.scandir(runs) if runs.is_dir() else ():
        folder = RunFolder(Path(entry.path))
        if folder.run_json.is_file():
            with_time.append((folder.run_json.stat().st_mtime_ns, folder))
    return [folder for _, folder in sorted(with_time, key=lambda pair: pair[0], reverse=True)]


def readable_runs(*, said: Callable[[str], None]) -> list[tuple[RunFolder, RunSpec]]:
    """All runs of this machine, newest first; those that are damaged are told of and passed over."""
    found = []
    for folder in list_runs():
        try:
            found.append((folder, folder.read_spec()))
        except DamagedRun as error:
            said(f"passed over: {error}")
    return found


def find_run(run_id: str | None) -> RunFolder:
    """The run of that name, the newest without a name; :class:`UnknownRun` if there is none."""
    runs = list_runs()
    if run_id is None:
        if not runs:
            raise UnknownRun("no run on this machine yet; start one with: ttgctl demo")
        return runs[0]
    for folder in runs:
        if folder.run_id == run_id:
            return folder
    known = ", ".join(f.run_id for f in runs[:5]) or "none"
    raise UnknownRun(f"no run {run_id!r} on this machine; the newest are: {known} (see: ttgctl runs)")
