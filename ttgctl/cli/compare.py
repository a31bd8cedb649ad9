"""Run the same sweep on every backend, without and with a fault, and put the runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttgctl.cli import options
from ttgctl.cli.option_group import with_option_groups
from ttgctl.cli.run_options import RunOptions


@with_option_groups
def compare(
    backends: Annotated[
        str, typer.Option(help="Which, by commas.", rich_help_panel=options.WHERE)
    ] = "static,redis,rabbitmq",
    repeat: Annotated[
        int,
        typer.Option(min=1, help="Runs of each kind; the table has medians.", rich_help_panel=options.WORK),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="The status report: .md, .html or .docx.", rich_help_panel=options.SHOW),
    ] = None,
    scale: options.Scale = options.ScaleName.small,
    parameters_total: options.ParametersTotal = None,
    chunk_size: options.ChunkSize = None,
    work_ms: options.WorkMs = None,
    *,
    common: RunOptions,
) -> int:
    import sys

    from ttgctl.cli.comparing import Matrix, judged
    from ttgctl.cli.report_option import checked_format
    from ttgctl.cli.sequence import sequence
    from ttgctl.cli.start import synthetic_work
    from ttgctl.cli.status import say
    from ttgctl.core.comparison import compare as cells_of
    from ttgctl.ui.comparison_view import ComparisonView, comparison_json
    from ttgctl.ui.console import data_console

    format = None if out is None else checked_format(out)
    work = synthetic_work(
        "cmp", scale.value, parameters_total=parameters_total, chunk_size=chunk_size, work_ms=work_ms
    )
    matrix = Matrix(common, work, backends=backends.split(","), repeat=repeat)
    matrix.check()
    records = []
    with sequence(common) as runs:
        for number, (spec, expected) in enumerate(matrix.runs(), 1):
            say(f"run {number} of {matrix.total}: {spec.backend}, {'with' if spec.faults else 'no'} fault")
            records.append(runs.run(spec, expected=expected))
    if out is not None and format is not None:
        from ttgctl.ui.reports.report_file import report_document, write_report

        write_report(report_document(records), out, format=format)
        say(f"report: {out}")
    cells = cells_of(records)
    if common.output is options.Output.json:
        sys.stdout.buffer.write(comparison_json(cells))
        sys.stdout.flush()
    elif common.output is options.Output.text:
        data_console().print(ComparisonView(cells))
    code, lines = judged(records)
    for line in lines:
        say(line)
    return code
