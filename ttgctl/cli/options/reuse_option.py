"""The runs whose values a new run takes over: one by name, or all of the same function."""

from __future__ import annotations

from typing import Final

from ttgctl.cli.options.workload_option import CheckedWorkload
from ttgctl.cli.status import say
from ttgctl.core.account.reuse import Function
from ttgctl.core.records.run_folder import find_run, list_runs
from ttgctl.domain.run import SpecError

AUTO: Final = "auto"


def runs_to_reuse(asked: str, checked: CheckedWorkload, *, chunk_function: bool) -> tuple[str, ...]:
    """The names of the runs, newest first; :class:`SpecError` where the one asked for is no match."""
    if not checked.files:
        raise SpecError("--reuse: an imported function may be another one today; name one of a FILE.py")
    folders = list_runs() if asked == AUTO else [find_run(asked)]
    function = Function(checked.reference, chunk_function, checked.files)
    same = [folder.run_id for folder in folders if function.is_of(folder)]
    if not same and asked != AUTO:
        raise SpecError(
            f"--reuse {asked}: its function is not the same one, or its files have changed; "
            "leave --reuse out to compute all anew"
        )
    if not same:
        say("reuse: no run on this machine has the same function files")
    return tuple(same)
