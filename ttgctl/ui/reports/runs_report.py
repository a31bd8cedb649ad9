"""The report over several runs, side by side: their figures, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from ttgctl.core.records.comparison import Cell, compare
from ttgctl.core.records.run_record import RunRecord
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.reports import run_blocks as blocks
from ttgctl.ui.reports.document import (
    BarPicture,
    Block,
    Bullets,
    Code,
    Document,
    Grid,
    Paragraph,
    ProgressPicture,
    Section,
)
from ttgctl.ui.reports.run_report import utc
from ttgctl.ui.text import formats, wording
from ttgctl.ui.views.rerun import demo_command


def runs_document(records: Sequence[RunRecord]) -> Document:
    """Over the records given, oldest first. Those without a verdict are listed and count nowhere else."""
    judged = [record for record in records if record.verdict is not None]
    cells = compare(judged)
    sections = [
        Section("Summary", _summary(records, judged)),
        Section("Results", _results(cells)),
        Section("Progress and recovery", pictures(judged, cells)),
        Section("Queues after completion", _queues(cells)),
        Section("Runs", [_runs(records)] if records else []),
        Section("Again", _commands(judged)),
    ]
    facts = [("Runs", f"{len(records):,}")]
    if records:
        facts.append(("From", f"{utc(min(record.started_at for record in records))} UTC"))
        facts.append(("To", f"{utc(max(record.ended_at for record in records))} UTC"))
    return Document(
        title=f"{formats.counted(len(records), 'run')} side by side",
        facts=facts,
        sections=[section for section in sections if section.blocks],
    )


def _verdicts(records: Sequence[RunRecord]) -> list[Verdict]:
    return [record.verdict for record in records if record.verdict is not None]


def _summary(records: Sequence[RunRecord], judged: Sequence[RunRecord]) -> list[Block]:
    verdicts = _verdicts(judged)
    if not verdicts:
        return [Paragraph("No run with a verdict yet; there is nothing to report.", tone="bad")]
    lossless = sum(verdict.lossless for verdict in verdicts)
    faults = [fault for verdict in verdicts for fault in verdict.faults]
    bitten = sum(fault.effect is not None for fault in faults)
    lost = sum(verdict.chunks.lost for verdict in verdicts)
    attempted = sum(verdict.chunks.attempted for verdict in verdicts)
    queued = [
        record for record in judged if record.spec.backend != "static" and not record.spec.unsafe_ack_early
    ]
    queued_lossless = sum(verdict.lossless for verdict in _verdicts(queued))
    found: list[Block] = []
    if queued:
        all_lossless = queued_lossless == len(queued)
        found.append(
            Paragraph(
                f"{queued_lossless:,} of {len(queued):,} runs through a queue are lossless: "
                "every chunk is accounted for exactly once.",
                tone="good" if all_lossless else "bad",
            )
        )
    found.append(
        Bullets(
            [
                f"{formats.counted(len(verdicts), 'run')} judged, {lossless:,} of them lossless; "
                f"{formats.chunks(attempted)} attempted, {lost:,} lost.",
                f"{formats.counted(len(faults), 'fault')} injected, {bitten:,} with an effect seen.",
                *_never_completed(sum(not verdict.complete for verdict in verdicts)),
                *_open_runs(len(records) - len(judged)),
            ]
        )
    )
    return found


def _never_completed(number: int) -> list[str]:
    return (
        [f"{formats.counted(number, 'run')} never completed: chunks stayed with nobody to compute them."]
        if number
        else []
    )


def _open_runs(number: int) -> list[str]:
    return [f"Without a verdict, and not counted: {formats.counted(number, 'run')}."] if number else []


def _results(cells: list[Cell]) -> list[Block]:
    found: list[Block] = []
    for substrate in dict.fromkeys(cell.substrate for cell in cells):
        here = [cell for cell in cells if cell.substrate == substrate]
        found += [
            Paragraph(f"On {substrate}; times are medians over the runs of a column."),
            results_grid(here),
        ]
    return found


def results_grid(cells: Sequence[Cell]) -> Grid:
    """Metrics down, backends without and with a fault across."""
    headers = [_column(cell) for cell in cells]
    rows = [
        ("Runs", *(f"{cell.runs:,}" for cell in cells)),
        ("Chunks", *(f"{cell.ok:,}/{cell.attempted:,}" for cell in cells)),
        ("Runtime", *(formats.duration(cell.seconds) for cell in cells)),
        ("Throughput", *(formats.rate(cell.parameters_per_second, of="p") for cell in cells)),
        ("Chunk delivered again after", *(formats.duration(cell.recovery_seconds) for cell in cells)),
        ("Replacement working after", *(formats.duration(cell.replaced_seconds) for cell in cells)),
        ("Duplicates, counted once", *(f"{cell.duplicated:,}" for cell in cells)),
        ("Data loss", *(wording.loss(cell) for cell in cells)),
    ]
    return Grid(("Metric", *headers), rows)


def _column(cell: Cell) -> str:
    place = "" if cell.substrate == "local" else f" on {cell.substrate}"
    return f"{cell.backend}{place} ({'fault' if cell.faulted else 'no fault'})"


def _newest(judged: Sequence[RunRecord], cells: Sequence[Cell]) -> list[tuple[Cell, RunRecord]]:
    """The newest run behind each cell."""
    newest = {
        (r.spec.backend, r.spec.substrate, r.faulted): r for r in sorted(judged, key=lambda r: r.started_at)
    }
    return [(cell, newest[cell.backend, cell.substrate, cell.faulted]) for cell in cells]


def pictures(judged: Sequence[RunRecord], cells: list[Cell]) -> list[Block]:
    newest = [(cell, record) for cell, record in _newest(judged, cells) if len(record.progress) > 1]
    found: list[Block] = []
    sizes = {record.spec.chunks_total for _, record in newest}
    if len(sizes) == 1:
        curves = [blocks.curve(record, label=cell.name) for cell, record in newest]
        found.append(ProgressPicture("Chunks accounted for, newest run of each kind", curves, sizes.pop()))
    if cells:
        found.append(_runtime_picture(cells))
    recovering = [
        cell for cell in cells if cell.recovery_seconds is not None or cell.replaced_seconds is not None
    ]
    if recovering:
        found.append(
            BarPicture(
                title="Time to recover from a fault (median)",
                unit="seconds",
                labels=[f"{cell.backend} on {cell.substrate}" for cell in recovering],
                groups={
                    "chunk delivered again": [cell.recovery_seconds for cell in recovering],
                    "replacement working": [cell.replaced_seconds for cell in recovering],
                },
            )
        )
    for cell, record in [(c, r) for c, r in newest if r.faulted and r.chunks_by_worker][:3]:
        picture = blocks.workers_picture(record)
        found.append(
            BarPicture(
                title=f"{picture.title}: {cell.name}",
                unit=picture.unit,
                labels=picture.labels,
                groups=picture.groups,
            )
        )
    return found


def _runtime_picture(cells: list[Cell]) -> BarPicture:
    places = list(dict.fromkeys((cell.backend, cell.substrate) for cell in cells))
    times = {(cell.backend, cell.substrate, cell.faulted): cell.seconds for cell in cells}
    groups = {
        name: [times.get((*place, faulted)) for place in places]
        for name, faulted in (("no fault", False), ("with fault", True))
        if any((*place, faulted) in times for place in places)
    }
    return BarPicture(
        title="Runtime, first delivery to last result (median)",
        unit="seconds",
        labels=[f"{backend} on {substrate}" for backend, substrate in places],
        groups=groups,
    )


def _queues(cells: list[Cell]) -> list[Block]:
    messages = {_column(cell): cell.queues_after for cell in cells if cell.queues_after}
    if not messages:
        return []
    return [
        Paragraph("Messages in each queue when the newest run of each kind was complete."),
        blocks.queues_grid(messages),
    ]


def _commands(judged: Sequence[RunRecord]) -> list[Block]:
    again = [command for record in judged if (command := demo_command(record.spec)) is not None]
    return [Code(list(dict.fromkeys(again)))] if again else []


def _runs(records: Sequence[RunRecord]) -> Grid:
    rows = []
    for record in records:
        verdict = record.verdict
        words = "no verdict" if verdict is None else "lossless" if verdict.lossless else "not lossless"
        rows.append(
            (
                record.spec.run_id,
                record.spec.backend,
                record.spec.substrate,
                utc(record.started_at),
                f"{len(record.faults):,}",
                "-" if verdict is None else formats.duration(verdict.seconds),
                words,
            )
        )
    return Grid(("Run", "Backend", "Substrate", "Started (UTC)", "Faults", "Time", "Verdict"), rows)
