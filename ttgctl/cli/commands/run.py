"""Run your own function over your own parameters.

FUNCTION is FILE.py:NAME or MODULE:NAME; it takes one parameter and returns its value, or, with
--chunk-function, a list of parameters and returns the list of their values. The modules that a file
imports from its own folder go with it to the workers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.status import say

if TYPE_CHECKING:
    from ttgctl.cli.options.dependencies_option import Dependencies


@with_option_groups
def run(
    workload: Annotated[
        str,
        typer.Option(metavar="FUNCTION", help="FILE.py:NAME or MODULE:NAME.", rich_help_panel=flags.WORK),
    ],
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="The parameters: .yaml (a grid), .csv, .jsonl, .parquet, .arrow; - reads stdin.",
            rich_help_panel=flags.WORK,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            metavar="NAME=VALUES",
            help="An axis of the grid here instead, such as rate=0.1,0.2 or seed=0..99; repeatable.",
            rich_help_panel=flags.WORK,
        ),
    ] = None,
    out: flags.ResultsOut = None,
    overwrite: flags.Overwrite = False,
    chunk_size: flags.ChunkSize = None,
    chunk_function: Annotated[
        bool,
        typer.Option("--chunk-function", help="FUNCTION takes a list.", rich_help_panel=flags.WORK),
    ] = False,
    reuse: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|auto",
            help="Take over the values that this run, or any, has of the same FUNCTION and parameter.",
            rich_help_panel=flags.WORK,
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|VERSION",
            help="Compute under this Python. Default: the active environment's, or the project's .venv.",
            rich_help_panel=flags.WORK,
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(help="Packages that FUNCTION needs, as pip takes them.", rich_help_panel=flags.WORK),
    ] = None,
    packages: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="PACKAGE",
            help="One more package that FUNCTION needs; repeatable.",
            rich_help_panel=flags.WORK,
        ),
    ] = None,
    dry_run: flags.DryRun = False,
    try_out: Annotated[
        int,
        typer.Option(
            "--try",
            min=0,
            help="With --dry-run, compute so many parameters here.",
            rich_help_panel=flags.WORK,
        ),
    ] = 3,
    *,
    common: RunOptions,
) -> int:
    from ttgctl.cli.options.dependencies_option import declared_dependencies
    from ttgctl.cli.options.parameters_option import parameter_file
    from ttgctl.cli.options.reuse_option import runs_to_reuse
    from ttgctl.cli.options.workload_option import check_workload
    from ttgctl.cli.pipeline.conduct import conduct
    from ttgctl.cli.pipeline.start import Work, copy_input, prepare, specify
    from ttgctl.core.account.results_file import check_not_input, check_out_path
    from ttgctl.core.inputs.parameters import open_parameters

    with parameter_file(parameters, parameter or []) as file:
        if out is not None:
            check_not_input(out, file, Path(workload.rpartition(":")[0]))
            check_out_path(out, overwrite=overwrite)
        source = open_parameters(file)
        dependencies = declared_dependencies(workload, requirements, packages or [])
        computing, lock = _python(python, workload, dependencies, common)
        checked = check_workload(workload, python=computing)
        work = Work(
            kind="run",
            parameters_total=source.total,
            chunk_size=chunk_size or _fitting_chunk_size(source.total, common.workers),
            workload=checked.reference,
            python=computing,
            chunk_function=chunk_function,
            parameter_source=file.name,
            out=None if out is None else str(out.absolute()),
            reuse=() if reuse is None else runs_to_reuse(reuse, checked, chunk_function=chunk_function),
        )
        spec = specify(common, work)
        if dry_run:
            from ttgctl.cli.pipeline.rehearsal import Sweep, rehearse

            return rehearse(spec, common, sweep=Sweep(source, checked.files, tries=try_out))
        folder, substrate = prepare(spec, broker_url=common.broker_url)
        copy_input(folder, file)
        if lock is not None:
            folder.packages.write_bytes(lock)
    checked.copy_to(folder)
    source = open_parameters(folder.input / file.name, total=spec.parameters_total)
    return conduct(spec, substrate=substrate, source=source, common=common)


def _python(
    asked: str | None, workload: str, dependencies: Dependencies | None, common: RunOptions
) -> tuple[str | None, bytes | None]:
    """The interpreter that computes, where that is of this machine, and the lock of what was installed for
    it; in a pod both are the image's."""
    from ttgctl.cli.options.dependencies_option import python_with
    from ttgctl.cli.options.python_option import choose_python
    from ttgctl.domain.run import SpecError
    from ttgctl.substrates import choose

    substrate, _ = choose(common.substrate.value, context=common.context)
    if substrate == "local":
        if dependencies is not None:
            return python_with(dependencies, asked)
        return choose_python(asked, workload), None
    if asked is not None:
        raise SpecError(f"--python {asked}: on {substrate} the Python of the image computes (see --image)")
    if dependencies is not None:
        say(
            f"packages: on {substrate} the image must have what {' and '.join(dependencies.sources)} ask for "
            "(see --image)"
        )
    return None, None


def _fitting_chunk_size(total: int, workers: int) -> int:
    """Some 30 chunks a worker: a kill costs little, and the last ones do not keep all waiting."""
    return max(1, min(1000, total // (30 * workers)))
