"""Which error ends with which exit code; everything not named here is a bug."""

from __future__ import annotations

import errno
import sqlite3
from typing import Final

from platformdirs import user_state_path
from typer.exceptions import TyperException

from ttg_worker.errors import BrokerError, WorkloadError
from ttgctl.core.account.out_file import OutFileError
from ttgctl.core.faults.plan_file import FaultPlanFileError
from ttgctl.core.inputs.parameter_error import ParameterError
from ttgctl.core.ports import MissingRequirement, SubstrateError
from ttgctl.core.records.event_log import BadEvent
from ttgctl.core.records.run_folder import DamagedRun, UnknownRun
from ttgctl.core.records.run_lock import RunIsTaken
from ttgctl.domain.faults import FaultPlanError
from ttgctl.domain.run import SpecError
from ttgctl.domain.verdict import ExitCode
from ttgctl.ui.reports.document import TemplateError

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
    # What the machine refuses (a full disk, a folder that is read-only) is no bug of ours.
    ((MissingRequirement, OSError, sqlite3.Error), ExitCode.MISSING),
    ((SubstrateError,), ExitCode.SUBSTRATE),
    ((BrokerError,), ExitCode.BROKER),
)


def exit_code_of(error: BaseException) -> ExitCode | None:
    """The exit code of an error that a user can do something about; None for a bug."""
    for types, code in _CODES:
        if isinstance(error, types):
            return code
    return None


_ROOM: Final = "make room there"
_ADVICE: dict[int, str] = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: "allow more open files: ulimit -n 4096",
}


def message_of(error: BaseException) -> str:
    """The one line on an error that :func:`exit_code_of` knows: what failed, where, what to do."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        advice = _ADVICE.get(error.errno or 0)
        if not where and advice == _ROOM:
            # A file that was open already; nearly all that a command writes is there.
            where = f"{user_state_path()}: "
        if advice is None and str(error.filename).startswith(str(user_state_path())):
            advice = "set XDG_STATE_HOME to a folder that is there and that you may write to"
        return f"{where}{error.strerror or error}" + (f"; {advice}" if advice else "")
    if isinstance(error, sqlite3.Error):
        advice = f"; make room at {user_state_path()}" if "full" in str(error) else ""
        return f"the ledger can't be read or written: {error}{advice}"
    return str(getattr(error, "format_message", lambda: str(error))())
