"""The report on one run: what was asked, what happened, what was proven."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import RunRecord, read_record
from ttgctl.ui.reports import run_blocks as blocks
from ttgctl.ui.reports.document import Block, Bullets, Code, Document, Grid, Paragraph, Section
from ttgctl.ui.reports.markdown_text import to_markdown
from ttgctl.ui.text import formats
from ttgctl.ui.views.rerun import demo_command

_MOST_NOTICES: Final = 40


def run_document(record: RunRecord) -> Document:
    spec, verdict = record.spec, record.verdict
    sections = [
        Section("Summary", [*blocks.headline(record), blocks.parameters_grid(record)]),
        Section("Progress", [blocks.progress_picture(record)] if len(record.progress) > 1 else []),
    ]
    if verdict is not None:
        account: list[Block] = [blocks.account_grid(verdict)]
        if verdict.dead_letter_causes:
            account.append(
                Grid(
                    ("Dead letters by cause", "Number"),
                    [(cause, f"{number:,}") for cause, number in verdict.dead_letter_causes.items()],
                )
            )
        if verdict.notes:
            account.append(Bullets(verdict.notes))
        sections.append(Section("Account", account))
        sections.append(
            Section("Queues after completion", [blocks.queues_grid({"Messages": verdict.queues_after})])
        )
    sections.append(Section("Faults and recovery", _faults(record)))
    if record.chunks_by_worker:
        sections.append(Section("Workers", [_workers(record), blocks.workers_picture(record)]))
    if record.phases:
        sections.append(Section("Steps", [_steps(record)]))
    if record.notices:
        sections.append(Section("Events", [_notices(record)]))
    again = demo_command(spec)
    commands = [f"ttgctl verify {spec.run_id}", f"ttgctl replay {spec.run_id}", *([again] if again else [])]
    sections.append(Section("Again", [Code(commands)]))
    return Document(
        title=f"Run {spec.run_id}",
        facts=[("Started", f"{utc(record.started_at)} UTC"), ("Ended", f"{utc(record.ended_at)} UTC")],
        sections=[section for section in sections if section.blocks],
    )


def write_run_report(folder: RunFolder) -> str:
    """Writes the run's ``report.md`` from its folder, and returns its text."""
    text = to_markdown(run_document(read_record(folder)))
    folder.report.write_text(text, encoding="utf-8")
    return text


def utc(at: float) -> str:
    """Unix seconds as date and time of day in UTC."""
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%d %H:%M:%S}"


def _faults(record: RunRecord) -> list[Block]:
    if not record.faults:
        return []
    found: list[Block] = [blocks.faults_grid(record)]
    recovery = record.verdict.recovery if record.verdict is not None else None
    if recovery is not None:
        found.append(
            Paragraph(
                f"Chunks that a fault took from a worker were delivered again after "
                f"{formats.duration(recovery.p50_seconds)} (median), "
                f"{formats.duration(recovery.p99_seconds)} (p99), "
                f"{formats.duration(recovery.max_seconds)} at the most."
            )
        )
    notes = [
        f"{fault.kind} at {formats.duration(fault.at_seconds)}: {fault.note}"
        for fault in record.faults
        if fault.note
    ]
    if notes:
        found.append(Bullets(notes))
    picture = blocks.recovery_picture(record)
    if picture is not None:
        found.append(picture)
    return found


def _workers(record: RunRecord) -> Grid:
    total = sum(record.chunks_by_worker.values())
    return Grid(
        ("Worker", "Chunks", "Share"),
        [
            (worker, f"{chunks:,}", formats.percent(chunks / total))
            for worker, chunks in record.chunks_by_worker.items()
        ],
    )


def _steps(record: RunRecord) -> Grid:
    return Grid(
        ("Step", "Time", "Detail"),
        [(phase.name, formats.duration(phase.seconds or 0.0), phase.detail) for phase in record.phases],
    )


def _notices(record: RunRecord) -> Grid:
    shown = record.notices[:_MOST_NOTICES]
    rows: list[tuple[str, str, str]] = [
        (formats.duration(seconds), notice.level, notice.message) for seconds, notice in shown
    ]
    left = len(record.notices) - len(shown)
    if left:
        rows.append(("…", "", f"and {left:,} more, in events.ndjson"))
    return Grid(("At", "Level", "Event"), rows)
