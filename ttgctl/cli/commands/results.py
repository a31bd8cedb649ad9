"""Write a run's results, from what is recorded of it: while it runs, after it, years later.

One row a parameter, in parameter order, as CSV to stdout or to a file. A run that is not complete needs
--partial; rows without a value have an error that says why. Columns beyond the parameter's and the value's
can be named: error, attempts, seconds, index.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ttgctl.cli.options import flags


def results(
    run: flags.Run = None,
    out: flags.ResultsOut = None,
    overwrite: flags.Overwrite = False,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Also of a run that is not complete.", rich_help_panel=flags.SHOW),
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only what has no value, and why.", rich_help_panel=flags.SHOW)
    ] = False,
    slowest: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Only the N that took longest, with their seconds.",
            show_default=False,
            rich_help_panel=flags.SHOW,
        ),
    ] = 0,
    columns: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="These columns.", show_default=False, rich_help_panel=flags.SHOW
        ),
    ] = "",
    output: flags.TableOutputOption = flags.TableOutput.text,
) -> int:
    import sys
    from contextlib import closing

    from ttgctl.cli.pipeline.known_run import KnownRun
    from ttgctl.cli.status import say
    from ttgctl.core.account.ledger import Ledger
    from ttgctl.core.account.result_rows import RowFilter, rows
    from ttgctl.core.account.result_table import ALL
    from ttgctl.core.account.results_file import check_out_path, write_results, write_rows
    from ttgctl.domain.run import SpecError
    from ttgctl.domain.verdict import ExitCode

    known = KnownRun.find(run)
    spec = known.spec
    if out is not None:
        check_out_path(out, overwrite=overwrite or known.writes_to(out))
    if not known.folder.ledger.is_file():
        raise SpecError(f"run {spec.run_id} has not begun, so it has no results yet")
    wanted = [name.strip() for name in columns.split(",") if name.strip()]
    if slowest and not wanted:
        wanted = ["seconds", ALL]
    source, chosen = known.source(), RowFilter(failed=failed, slowest=slowest)
    with closing(Ledger(known.folder.ledger, spec)) as ledger:
        outstanding = spec.parameters_total - ledger.totals.parameters_ok - ledger.totals.parameters_failed
        if outstanding and not (partial or failed or slowest):
            say(
                f"error: {outstanding:,} of {spec.parameters_total:,} parameters of {spec.run_id} have no "
                f"outcome yet; take what there is with --partial, or go on with: ttgctl resume {spec.run_id}"
            )
            return ExitCode.TIMED_OUT
        if out is not None:
            write_results(out, lambda: chosen.of(rows(spec, ledger, source)), columns=wanted)
            say(f"results: {out}")
        else:
            ending = ".jsonl" if output is flags.TableOutput.json else ".csv"
            write_rows(
                sys.stdout.buffer, ending, lambda: chosen.of(rows(spec, ledger, source)), columns=wanted
            )
    return ExitCode.LOSSLESS
