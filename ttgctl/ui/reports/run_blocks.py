"""The parts that the reports on runs share: each takes a record and gives a block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ttgctl.core.records.run_record import RunRecord
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.reports.document import BarPicture, Curve, Grid, Paragraph, ProgressPicture
from ttgctl.ui.text import formats, wording

_ACCOUNT_WORDS: Final = {
    "attempted": "publishing was tried",
    "acknowledged": "the broker confirmed them",
    "ok": "have a result in the ledger",
    "lost": "confirmed, and neither a result nor a dead letter",
    "duplicated": "further results, equal to the first, each counted once",
    "recovered": "have a result although a holder died or no confirmation came",
    "conflicting": "results that contradict each other or themselves",
    "unexpected": "results of no chunk of this run",
    "retried": "attempts that failed and were asked for again",
    "dead_lettered": "given up, with no result",
}


def headline(record: RunRecord) -> list[Paragraph]:
    if record.verdict is not None:
        return [
            Paragraph(line, tone="good" if line.startswith("LOSSLESS") else "bad")
            for line in wording.headlines(record.verdict)
        ]
    done = 0 if record.last is None else record.last.accounted
    state = "INTERRUPTED" if record.interrupted is not None else "NO VERDICT YET"
    reason = f": {record.interrupted}" if record.interrupted else ""
    of_all = f"{done:,} of {formats.chunks(record.spec.chunks_total)} accounted for"
    return [Paragraph(f"{state}: {of_all}{reason}", tone="bad")]


def parameters_grid(record: RunRecord) -> Grid:
    spec = record.spec
    rows = [
        ("Backend", spec.backend),
        ("Substrate", spec.substrate),
        (
            "Parameters",
            f"{spec.parameters_total:,} in {formats.chunks(spec.chunks_total)} of {spec.chunk_size:,}",
        ),
        ("Workers", f"{spec.workers:,}"),
        ("Workload", spec.workload),
        ("Seed", str(spec.seed)),
    ]
    if spec.work_ms:
        rows.append(("Work per parameter", formats.duration(spec.work_ms / 1000)))
    if spec.fault_rate:
        rows.append(("Simulated fault rate", f"{spec.fault_rate:g}"))
    rows += [("Fault planned", fault) for fault in spec.faults]
    if spec.unsafe_ack_early:
        rows.append(("Negative control", "workers ack before they compute; losses are expected"))
    if record.verdict is not None:
        rows += [
            ("Time, first delivery to last result", formats.duration(record.verdict.seconds)),
            ("Throughput", f"{record.verdict.parameters_per_second:,.1f} parameters/s"),
            ("Checksum of all results", wording.checksum_word(record.verdict)),
        ]
    if record.commands > 1:
        rows.append(("Resumed", formats.counted(record.commands - 1, "time")))
    return Grid(("What", "Value"), rows)


def account_grid(verdict: Verdict) -> Grid:
    return Grid(
        ("Chunks", "Number", "Meaning"),
        [
            (name.replace("_", "-"), f"{getattr(verdict.chunks, name):,}", meaning)
            for name, meaning in _ACCOUNT_WORDS.items()
        ],
    )


def queues_grid(messages: Mapping[str, Mapping[str, int]]) -> Grid:
    """Messages by role after completion, a column for each name that is given."""
    roles = list(dict.fromkeys(role for counts in messages.values() for role in counts))
    return Grid(
        ("Queue", *messages),
        [(role, *(f"{counts.get(role, 0):,}" for counts in messages.values())) for role in roles],
    )


def faults_grid(record: RunRecord) -> Grid:
    return Grid(
        ("At", "Fault", "By", "Chunks held", "Effect", "Delivered again", "Replaced", "Rate back"),
        [
            (
                formats.duration(fault.at_seconds),
                wording.fault_act(fault),
                fault.method or "-",
                formats.ids(fault.chunks_held, most=8) or "-",
                fault.effect or "none seen",
                formats.duration(fault.redelivered_seconds),
                formats.duration(fault.replaced_seconds),
                formats.duration(fault.recovered_seconds),
            )
            for fault in record.faults
        ],
    )


def curve(record: RunRecord, *, label: str) -> Curve:
    return Curve(
        label=label,
        points=record.progress,
        faults=[(fault.at_seconds, fault.kind) for fault in record.faults],
        kin=f"{record.spec.backend} {record.spec.substrate}",
    )


def progress_picture(record: RunRecord) -> ProgressPicture:
    return ProgressPicture(
        title="Chunks accounted for",
        curves=[curve(record, label=record.spec.run_id)],
        chunks_total=record.spec.chunks_total,
    )


def workers_picture(record: RunRecord) -> BarPicture:
    return BarPicture(
        title="Chunks per worker",
        unit="chunks",
        # A pod's name begins with its run's, which all of them share.
        labels=[worker.removeprefix(f"ttg-{record.spec.run_id}-") for worker in record.chunks_by_worker],
        groups={"": list(record.chunks_by_worker.values())},
    )


def recovery_picture(record: RunRecord) -> BarPicture | None:
    """None where no fault took a chunk or a worker away."""
    faults = [f for f in record.faults if f.redelivered_seconds is not None or f.replaced_seconds is not None]
    if not faults:
        return None
    return BarPicture(
        title="Time to recover",
        unit="seconds",
        labels=[f"{fault.kind} at {formats.duration(fault.at_seconds)}" for fault in faults],
        groups={
            "chunks delivered again": [fault.redelivered_seconds for fault in faults],
            "replacement working": [fault.replaced_seconds for fault in faults],
        },
    )
