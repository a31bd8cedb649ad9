"""The status report over milestones 1 to 3: what was built, and what its runs show.

Every figure comes from the records of runs; a claim that no record shows says so.
"""

from __future__ import annotations

from collections import Counter
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

_NOT_SHOWN = "not shown by these runs"
_RECOVERY_WAYS = {
    "rabbitmq": "the broker gives it back when the connection ends",
    "redis": "claimed by another worker when the lease ends",
    "static": "none: shares are fixed",
}
_LARGE_SWEEP = 100_000


def status_document(records: Sequence[RunRecord]) -> Document:
    """Over the records given, oldest first. Those without a verdict are listed and count nowhere else."""
    judged = [record for record in records if record.verdict is not None]
    cells = compare(judged)
    sections = [
        Section("Summary", _summary(records, judged)),
        Section("Deliverables", [_deliverables(judged)]),
        Section("Test results", _results(cells)),
        Section("Progress and recovery", _pictures(judged, cells)),
        Section("Queue statistics after completion", _queues(cells)),
        Section("Why RabbitMQ", [_why_rabbitmq(cells)]),
        Section("Commands", [_commands(judged)]),
        Section("Risks and mitigations", [_risks(judged)]),
        Section("Next steps", [_next_steps(judged)]),
        Section("Runs behind the figures", [_runs(records)] if records else []),
    ]
    facts = [("Runs", f"{len(records):,}")]
    if records:
        facts.append(("From", f"{utc(min(record.started_at for record in records))} UTC"))
        facts.append(("To", f"{utc(max(record.ended_at for record in records))} UTC"))
    return Document(
        title="Status report, milestones 1 to 3: parameter sweeps that lose nothing",
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
        Paragraph(
            "Milestone 1 gave each worker a fixed share, milestone 2 put Redis Streams between, milestone 3 "
            "RabbitMQ. One command now runs all three, breaks workers and brokers on purpose, and ends with "
            "a verdict from a ledger that holds one entry a chunk."
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


def _deliverables(judged: Sequence[RunRecord]) -> Grid:
    def runs(chosen: list[RunRecord]) -> str:
        verdicts = _verdicts(chosen)
        if not verdicts:
            return _NOT_SHOWN
        lossless = sum(verdict.lossless for verdict in verdicts)
        return f"{formats.counted(len(verdicts), 'run')}, {lossless:,} lossless"

    def total(number: int, what: str, then: str = "") -> str:
        return f"{formats.counted(number, what)}{then}" if number else _NOT_SHOWN

    verdicts = _verdicts(judged)
    faults = Counter(
        fault.kind for verdict in verdicts for fault in verdict.faults if fault.effect is not None
    )
    survived = ", ".join(f"{number:,} {kind}" for kind, number in sorted(faults.items())) or _NOT_SHOWN
    rows = [
        ("M1", "Fixed shares, no queue (static), the baseline", runs(_of(judged, backend="static"))),
        ("M2", "Redis Streams with leases, delayed retry and DLQ", runs(_of(judged, backend="redis"))),
        ("M3", "RabbitMQ with quorum queues, retry by TTL and DLQ", runs(_of(judged, backend="rabbitmq"))),
        (
            "M3",
            "On Kubernetes (Kind or any context)",
            runs([r for r in judged if r.spec.substrate != "local"]),
        ),
        ("M3", "On one machine, nothing installed", runs(_of(judged, substrate="local"))),
        ("M3", "Fault injection with proof that it bit", survived),
        (
            "M3",
            "Redelivery after a crash",
            total(sum(v.chunks.recovered for v in verdicts), "chunk", " recovered"),
        ),
        (
            "M3",
            "Retry of failed attempts",
            total(sum(v.chunks.retried for v in verdicts), "failed attempt", " tried again"),
        ),
        (
            "M3",
            "Dead letters kept with their reason",
            total(sum(v.chunks.dead_lettered for v in verdicts), "dead letter"),
        ),
        (
            "M3",
            "A check that can fail (acks before computing, or fixed shares)",
            total(sum(not v.lossless for v in verdicts), "run", " judged not lossless"),
        ),
    ]
    return Grid(("Milestone", "Deliverable", "Shown by"), rows)


def _of(records: Sequence[RunRecord], **wanted: str) -> list[RunRecord]:
    return [r for r in records if all(getattr(r.spec, name) == value for name, value in wanted.items())]


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
    """The milestone's table: metrics down, backends without and with a fault across."""
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


def _pictures(judged: Sequence[RunRecord], cells: list[Cell]) -> list[Block]:
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


def _why_rabbitmq(cells: list[Cell]) -> Grid:
    def again(backend: str) -> str:
        times = [
            cell.recovery_seconds
            for cell in cells
            if cell.backend == backend and cell.recovery_seconds is not None
        ]
        way = _RECOVERY_WAYS[backend]
        return f"{way}; {formats.duration(max(times))} here" if times else way

    return Grid(
        ("Aspect", "Redis Streams", "RabbitMQ"),
        [
            ("Protocol", "RESP", "AMQP 0-9-1"),
            ("Chunk of a dead worker", again("redis"), again("rabbitmq")),
            ("Retry", "a sorted set, moved by the workers", "a queue with a TTL, moved by the broker"),
            (
                "Given up",
                "a stream, written by the workers",
                "dead-lettered by the broker itself, at least once",
            ),
            ("Copies", "one server, append-only file", "quorum queues over several nodes"),
            ("Watching", "command line", "management UI on 15672, metrics on 15692"),
            ("Running it", "simpler", "more to run, richer in meaning"),
        ],
    )


def _commands(judged: Sequence[RunRecord]) -> Code:
    again = [command for record in judged if (command := demo_command(record.spec)) is not None]
    return Code(
        [
            "# the runs of this report",
            *dict.fromkeys(again),
            "# all backends, without and with a fault",
            "ttgctl compare",
            "# what would be removed, and its removal",
            "ttgctl cleanup --all --dry-run",
            "ttgctl cleanup --all --force",
        ]
    )


def _risks(judged: Sequence[RunRecord]) -> Grid:
    duplicated = sum(verdict.chunks.duplicated for verdict in _verdicts(judged))
    return Grid(
        ("Risk", "Mitigation"),
        [
            (
                "RabbitMQ is one more thing to run",
                "Redis Streams stays as a tested way with the same commands",
            ),
            (
                "At least once means that a chunk can be computed twice",
                f"The ledger counts each chunk once; {duplicated:,} further results in these runs",
            ),
            (
                "Cleanup could hit what others run",
                "Deletion lists first, by label and manager, then deletes what it listed, by uid; "
                "clusters and images never",
            ),
            (
                "A check that always passes proves nothing",
                "A mode that acks too early and the static baseline must be judged not lossless",
            ),
        ],
    )


def _next_steps(judged: Sequence[RunRecord]) -> Bullets:
    steps = []
    for backend in ("static", "redis", "rabbitmq"):
        of_backend = _of(judged, backend=backend)
        if not of_backend:
            steps.append(f"Run the {backend} backend; no run of it is in this report.")
        elif not any(record.faulted for record in of_backend):
            steps.append(f"Run the {backend} backend with a fault; none of its runs here had one.")
    if not any(record.spec.substrate != "local" for record in judged):
        steps.append("Run on a Kubernetes cluster; all runs here were on one machine.")
    largest = max((record.spec.parameters_total for record in judged), default=0)
    if largest < _LARGE_SWEEP:
        steps.append(f"Scale to {_LARGE_SWEEP:,} parameters and more; the largest run here had {largest:,}.")
    steps.append("Gather RabbitMQ's metrics (port 15692) with Prometheus and show them in Grafana.")
    return Bullets(steps)


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
