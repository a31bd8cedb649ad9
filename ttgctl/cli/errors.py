"""Which error ends with which exit code; everything not named here is a bug."""

from __future__ import annotations

from typer.exceptions import TyperException

from ttg_worker.errors import BrokerError, WorkloadError
from ttgctl.core.account.out_file import OutFileError
from ttgctl.core.faults.plan_file import FaultPlanFileError
from ttgctl.core.inputs.parameters import ParameterError
from ttgctl.core.ports import MissingRequirement, SubstrateError
from ttgctl.core.records.event_log import BadEvent
from ttgctl.core.records.run_folder import DamagedRun, UnknownRun
from ttgctl.core.records.run_lock import RunIsTaken
from ttgctl.domain.faults import FaultPlanError
from ttgctl.domain.run import SpecError
from ttgctl.domain.verdict import ExitCode
from ttgctl.ui.reports.template_report import TemplateError

_CODES: tuple[tuple[tuple[type[BaseException], ...], ExitCode], ...] = (
    (
        (
            TyperException,
            SpecError,
            ParameterError,
            FaultPlanError,
            FaultPlanFileError,
            OutFileError,
            BadEvent,
            DamagedRun,
            UnknownRun,
            RunIsTaken,
            TemplateError,
            WorkloadError,
        ),
        ExitCode.USAGE,
    ),
    ((MissingRequirement,), ExitCode.MISSING),
    ((SubstrateError,), ExitCode.SUBSTRATE),
    ((BrokerError,), ExitCode.BROKER),
)


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an error that a user can do something about; None for a bug."""
    for types, code in _CODES:
        if isinstance(error, types):
            return code
    return None
