"""Which error ends with which exit code; everything not named here is a bug."""

from __future__ import annotations

from typer.exceptions import Abort, TyperException

from ttg_worker.errors import BrokerError, WorkloadError
from ttgctl.core.fault_plan_file import FaultPlanFileError
from ttgctl.core.parameters import ParameterError
from ttgctl.core.ports import MissingRequirement, SubstrateError
from ttgctl.core.results_file import ResultsFileError
from ttgctl.core.run_folder import UnknownRun
from ttgctl.core.run_lock import RunIsTaken
from ttgctl.core.writable_path import UnwritablePath
from ttgctl.domain.faults import FaultPlanError
from ttgctl.domain.run import SpecError
from ttgctl.domain.verdict import ExitCode

_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    (
        (
            TyperException,
            SpecError,
            ParameterError,
            FaultPlanError,
            FaultPlanFileError,
            ResultsFileError,
            UnwritablePath,
            UnknownRun,
            RunIsTaken,
            WorkloadError,
        ),
        ExitCode.USAGE,
    ),
    ((MissingRequirement,), ExitCode.MISSING),
    ((SubstrateError,), ExitCode.SUBSTRATE),
    ((BrokerError,), ExitCode.BROKER),
    ((Abort,), ExitCode.INTERRUPTED),
)


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an error that a user can do something about; None for a bug."""
    for types, code in _CODES:
        if isinstance(error, types):
            return code
    return None
