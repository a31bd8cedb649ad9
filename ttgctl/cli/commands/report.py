"""Write the report on a run, or over several side by side, as Markdown, HTML or DOCX."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class FormatName(StrEnum):
    md = "md"
    html = "html"
    docx = "docx"


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="By default the newest, or with --compare all with a verdict."
        ),
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="These runs side by side.")] = False,
    template: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A template of your own: Markdown with Jinja2, over these runs."),
    ] = None,
    format: Annotated[FormatName | None, typer.Option(help="By default that of --out, else md.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; by default stdout.")] = None,
) -> int:
    import sys

    from ttgctl.cli.options.report_option import checked_format
    from ttgctl.cli.status import say
    from ttgctl.core.records.run_folder import find_run, readable_runs
    from ttgctl.core.records.run_record import read_record
    from ttgctl.domain.run import SpecError
    from ttgctl.ui.reports.report_file import report_bytes, write_report
    from ttgctl.ui.reports.run_report import run_document
    from ttgctl.ui.reports.runs_report import runs_document
    from ttgctl.ui.reports.template_report import template_document
    from ttgctl.ui.text import formats

    chosen = checked_format(out, asked=None if format is None else format.value)
    if out is None and chosen == "docx":
        raise SpecError("a docx needs a file: add --out FILE.docx")
    several = compare or template is not None or len(runs or ()) > 1
    if runs:
        records = [read_record(find_run(run)) for run in dict.fromkeys(runs)]
    elif several:
        found = [read_record(folder) for folder, _ in readable_runs(said=say)]
        records = [record for record in found if record.verdict is not None]
    else:
        records = [read_record(find_run(None))]
    records.sort(key=lambda record: record.started_at)
    if template is not None:
        document = template_document(template, records)
    else:
        document = runs_document(records) if several else run_document(records[0])
    if out is None:
        sys.stdout.buffer.write(report_bytes(document, format=chosen))
        return 0
    write_report(document, out, format=chosen)
    say(f"report on {formats.counted(len(records), 'run')}: {out}")
    return 0
