"""A run of this machine with all that a later command needs to work on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.ports import Substrate
from ttgctl.core.records.run_folder import RunFolder, find_run
from ttgctl.domain.run import RunSpec
from ttgctl.substrates import open_substrate


@dataclass(frozen=True)
class KnownRun:
    folder: RunFolder
    spec: RunSpec

    @classmethod
    def find(cls, run_id: str | None) -> KnownRun:
        """The run of that name, or the newest; :class:`UnknownRun` says what there is."""
        folder = find_run(run_id)
        return cls(folder, folder.read_spec())

    def substrate(self, *, broker_url: str | None = None) -> Substrate:
        """Where the run is; ``broker_url`` replaces the one that it was started with."""
        url = broker_url or self.folder.read_broker_url()
        return open_substrate(
            self.spec.substrate, self.spec.placement, backend=self.spec.backend, broker_url=url
        )

    def writes_to(self, path: Path) -> bool:
        """Whether this is where its own results are, which it may replace."""
        return self.spec.out is not None and Path(self.spec.out) == path.absolute()

    def source(self) -> ParameterSource:
        """The run's parameters as they were at its start."""
        return self.folder.source(self.spec)
