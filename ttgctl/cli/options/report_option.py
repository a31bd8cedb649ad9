"""Where a report goes and in which format."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from ttgctl.core.account.out_file import check_writable
from ttgctl.domain.run import SpecError
from ttgctl.ui.reports.report_file import Format, report_bytes, report_document

FORMATS: tuple[Format, ...] = get_args(Format)


def checked_format(out: Path | None, *, asked: Format | None = None) -> Format:
    """The format asked for, else the one of the file's suffix, else Markdown.

    Raises :class:`SpecError` for a suffix that says none,
    :class:`~ttgctl.core.account.out_file.OutFileError` for a file that can't be written, and
    :class:`~ttgctl.core.ports.MissingRequirement` when the format needs what is not installed, so
    that nobody waits for a report that can't be written.
    """
    suffix = "" if out is None else out.suffix.removeprefix(".")
    if out is not None:
        check_writable(out)
    known: dict[str, Format] = {name: name for name in FORMATS}
    found = asked or known.get(suffix) or (None if out is not None else "md")
    if found is None:
        raise SpecError(f"--out {out}: expected a name that ends in {', '.join(f'.{f}' for f in FORMATS)}")
    report_bytes(report_document([]), format=found)
    return found
