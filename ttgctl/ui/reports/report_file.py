"""Writes a report to a file in the format asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ttgctl.core.account.out_file import whole_file
from ttgctl.core.records.run_record import RunRecord
from ttgctl.ui.reports.document import Document

Format = Literal["md", "html", "docx"]


def report_document(records: Sequence[RunRecord]) -> Document:
    """The report on one run, or the one over several."""
    if len(records) == 1:
        from ttgctl.ui.reports.run_report import run_document

        return run_document(records[0])
    from ttgctl.ui.reports.runs_report import runs_document

    return runs_document(records)


def report_bytes(document: Document, *, format: Format) -> bytes:
    """Raises :class:`~ttgctl.core.ports.MissingRequirement` when the format needs an extra."""
    if format == "html":
        from ttgctl.ui.reports.html_page import to_html

        return to_html(document)
    if format == "docx":
        from ttgctl.ui.reports.docx_file import to_docx

        return to_docx(document)
    from ttgctl.ui.reports.markdown_text import to_markdown

    return to_markdown(document).encode()


def write_report(document: Document, out: Path, *, format: Format) -> None:
    """Raises :class:`~ttgctl.core.account.out_file.OutFileError`, and what was there is as it was."""
    content = report_bytes(document, format=format)
    with whole_file(out) as part:
        part.write_bytes(content)
