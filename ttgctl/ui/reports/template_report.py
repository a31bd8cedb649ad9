"""A report by a template of the user's: Markdown with Jinja2, over the records of runs.

The template knows: ``runs`` (every :class:`~ttgctl.core.records.run_record.RunRecord`, oldest first),
``judged`` (those with a verdict), ``cells`` (one :class:`~ttgctl.core.records.comparison.Cell` for each
backend, substrate, and whether it was faulted), ``totals`` (sums over the verdicts), ``machine`` and
``versions``. Filters: ``duration`` (seconds), ``count``, ``rate``, ``utc`` (Unix seconds), ``loss`` (of a
cell). The image addresses ``ttgctl:progress``, ``ttgctl:runtime`` and ``ttgctl:recovery`` stand for pictures
of these runs.
"""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from ttgctl.core.records.comparison import compare
from ttgctl.core.records.run_record import RunRecord
from ttgctl.ui.reports.document import BarPicture, Block, Document, ProgressPicture, TemplateError
from ttgctl.ui.reports.markdown_document import markdown_document
from ttgctl.ui.reports.run_report import utc
from ttgctl.ui.reports.runs_report import pictures
from ttgctl.ui.text import formats, wording

_PACKAGES: Final = ("ttgctl", "pika", "redis", "kubernetes")
_PICTURES: Final = ("progress", "runtime", "recovery")


def template_document(template: Path, records: Sequence[RunRecord]) -> Document:
    """Raises :class:`TemplateError`."""
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    filters: dict[str, Any] = {
        "duration": formats.duration,
        "count": formats.count,
        "rate": lambda number: formats.rate(number, of="p"),
        "utc": utc,
        "loss": wording.loss,
    }
    environment.filters.update(filters)
    judged = [record for record in records if record.verdict is not None]

    def picture(name: str) -> Sequence[Block]:
        if name not in _PICTURES:
            raise TemplateError(f"{template}: no picture {name!r}; there are {', '.join(_PICTURES)}")
        return [block for block in pictures(judged, compare(judged)) if _is(block, name)]

    try:
        source = template.read_text(encoding="utf-8")
        text = environment.from_string(source).render(_variables(records, judged))
    except OSError as error:
        raise TemplateError(f"{template}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{template}: not text in UTF-8: {error.reason}") from error
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{template}, line {error.lineno}: {error.message}") from error
    # Whatever an expression of the template raises, of whichever type, is the template's.
    except Exception as error:
        raise TemplateError(f"{template}{_line_of(error)}: {error}") from error
    return markdown_document(text, pictures=picture)


def _line_of(error: Exception) -> str:
    """The template's own line, which Jinja2 puts into the traceback."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}" if lines else ""


def _is(block: Block, name: str) -> bool:
    if name == "progress":
        return isinstance(block, ProgressPicture)
    wanted = "Runtime" if name == "runtime" else "Time to recover"
    return isinstance(block, BarPicture) and block.title.startswith(wanted)


def _variables(records: Sequence[RunRecord], judged: Sequence[RunRecord]) -> dict[str, Any]:
    verdicts = [record.verdict for record in judged if record.verdict is not None]
    faults = [fault for verdict in verdicts for fault in verdict.faults]
    bitten = Counter(fault.kind for fault in faults if fault.effect is not None)
    return {
        "runs": list(records),
        "judged": list(judged),
        "cells": compare(judged),
        "totals": {
            "lossless": sum(verdict.lossless for verdict in verdicts),
            "attempted": sum(verdict.chunks.attempted for verdict in verdicts),
            "lost": sum(verdict.chunks.lost for verdict in verdicts),
            "recovered": sum(verdict.chunks.recovered for verdict in verdicts),
            "retried": sum(verdict.chunks.retried for verdict in verdicts),
            "duplicated": sum(verdict.chunks.duplicated for verdict in verdicts),
            "dead_lettered": sum(verdict.chunks.dead_lettered for verdict in verdicts),
            "faults": len(faults),
            "bitten": dict(sorted(bitten.items())),
            "largest": max((record.spec.parameters_total for record in judged), default=0),
        },
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found
