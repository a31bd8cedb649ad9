"""Run the same sweep on every backend, without and with a fault, and put the runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttgctl.cli.options import flags
from ttgctl.cli.options.option_group import with_option_groups
from ttgctl.cli.options.run_options import RunOptions


@with_option_groups
def compare(
    backends: Annotated[
        str, typer.Option(help="Which, by commas.", rich_help_panel=flags.WHERE)
    ] = "static,redis,rabbitmq",
    repeat: Annotated[
        int,
        typer.Option(min=1, help="Runs of each kind; the table has medians.", rich_help_panel=flags.WORK),
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="The status report: .md, .html or .docx.", rich_help_panel=flags.SHOW),
    ] = None,
    scale: flags.Scale = flags.ScaleName.small,
    parameters_total: flags.ParametersTotal = None,
    chunk_size: flags.ChunkSize = None,
    work_ms: flags.WorkMs = None,
    *,
    common: RunOptions,
) -> int:
    import sys

    from ttgctl.cli.options.report_option import checked_format
    from ttgctl.cli.pipeline.compare_matrix import Matrix, judged
    from ttgctl.cli.pipeline.run_series import run_series
    from ttgctl.cli.pipeline.start import synthetic_work
    from ttgctl.cli.status import say
    from ttgctl.core.records.comparison import compare as cells_of
    from ttgctl.ui.text.console import data_console
    from ttgctl.ui.views.comparison_view import ComparisonView, comparison_json

    format = None if out is None else checked_format(out)
    work = synthetic_work(
        "cmp", scale.value, parameters_total=parameters_total, chunk_size=chunk_size, work_ms=work_ms
    )
    matrix = Matrix(common, work, backends=backends.split(","), repeat=repeat)
    matrix.check()
    records = []
    with run_series(common) as runs:
        for number, (spec, expected) in enumerate(matrix.runs(), 1):
            say(f"run {number} of {matrix.total}: {spec.backend}, {'with' if spec.faults else 'no'} fault")
            records.append(runs.run(spec, expected=expected))
    if out is not None and format is not None:
        from ttgctl.ui.reports.report_file import report_document, write_report

        write_report(report_document(records), out, format=format)
        say(f"report: {out}")
    cells = cells_of(records)
    if common.output is flags.Output.json:
        sys.stdout.buffer.write(comparison_json(cells))
        sys.stdout.flush()
    elif common.output is flags.Output.text:
        data_console().print(ComparisonView(cells))
    code, lines = judged(records)
    for line in lines:
        say(line)
    return code
