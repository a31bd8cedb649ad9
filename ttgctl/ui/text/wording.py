"""The sentences that every view and report shares."""

from __future__ import annotations

from typing import Final

from ttgctl.core.records.comparison import Cell
from ttgctl.domain.events import Started
from ttgctl.domain.verdict import ExitCode, FaultRecord, Verdict
from ttgctl.ui.text import formats

EXIT_CODES: Final[dict[ExitCode, str]] = {
    ExitCode.LOSSLESS: "lossless: every chunk is accounted for exactly once",
    ExitCode.USAGE: "the command was not understood",
    ExitCode.MISSING: "something is missing on this machine",
    ExitCode.SUBSTRATE: "the substrate failed, or a fault that was required to bite did not",
    ExitCode.BROKER: "the broker failed",
    ExitCode.TIMED_OUT: "not complete in the time given",
    ExitCode.LOSS: "loss or conflict: the results are not to be trusted",
    ExitCode.DEAD_LETTERS: "complete, but some chunks were given up and are dead letters",
    ExitCode.INTERRUPTED: "interrupted; the run can be resumed",
}


def headlines(verdict: Verdict) -> list[str]:
    """What the verdict says, the gravest first; never empty."""
    account = verdict.chunks
    lines = []
    if account.lost:
        lines.append(f"LOSS: {formats.chunks(account.lost)} lost: {_named(verdict, verdict.lost_chunks)}")
    if account.conflicting:
        lines.append(
            f"CONFLICT: {formats.chunks(account.conflicting)} with results that contradict each other "
            f"or themselves: {_named(verdict, verdict.conflicting_chunks)}"
        )
    if checksum_word(verdict) == "mismatch":
        lines.append("CONFLICT: the results' checksum is not the one that the workload must give")
    if account.unexpected:
        lines.append(f"UNEXPECTED: {account.unexpected:,} results of no chunk of this run")
    if account.dead_lettered:
        failed = verdict.parameters.failed
        what = f"{failed:,} parameter{'' if failed == 1 else 's'} given up, in " if failed else ""
        lines.append(
            f"DEAD LETTERS: {what}{formats.chunks(account.dead_lettered)}{'' if failed else ' given up'}: "
            f"{_named(verdict, verdict.dead_lettered_chunks)}"
        )
    of_all = f"{account.ok:,} of {formats.chunks(account.attempted)}"
    if not verdict.complete:
        lines.append(f"INCOMPLETE: {of_all} have a result so far")
    if not lines and verdict.lossless:
        lines.append(f"LOSSLESS: {of_all} accounted for exactly once")
    elif not lines:
        lines.append(f"NOT PROVEN: {of_all} have a result, but the proof is not complete; see the notes")
    return [*lines, *(f"NOT MET: {formats.one_line(demand)}" for demand in verdict.unmet)]


def _named(verdict: Verdict, chunk_ids: tuple[int, ...]) -> str:
    text = formats.ids(chunk_ids)
    return text if len(chunk_ids) <= 20 else f"{text} (all: ttgctl verify {verdict.run_id} --output json)"


def checksum_word(verdict: Verdict) -> str:
    """``ok``, ``mismatch`` or ``unknown``: what is known of the values as a whole."""
    if verdict.checksum is None or verdict.checksum_expected is None:
        return "unknown"
    return "ok" if verdict.checksum == verdict.checksum_expected else "mismatch"


def fault_act(record: FaultRecord) -> str:
    """What was done to whom: ``kill-worker w-2 on node ttg-sandbox-worker``."""
    victim = f" {formats.one_line(record.victim)}" if record.victim else ""
    node = f" on {formats.one_line(record.node)}" if record.node else ""
    return f"{record.kind}{victim}{node}"


def fault_proof(record: FaultRecord, *, final: bool) -> list[str]:
    """What came of it, a phrase each. Before the run's end a missing effect may still be seen."""
    held = record.chunks_held
    phrases = [f"held {'chunk' if len(held) == 1 else 'chunks'} {formats.ids(held, most=8)}"] if held else []
    if record.effect is not None:
        phrases.append(formats.one_line(record.effect))
    elif final:
        phrases.append("no effect seen" if record.victim else "no effect seen: it hit nothing")
    if final and record.method is not None:
        phrases.append(f"by {formats.one_line(record.method)}")
    for seconds, words in (
        (record.redelivered_seconds, "delivered again after"),
        (
            record.replaced_seconds,
            "back after" if record.kind.endswith("-broker") else "replacement working after",
        ),
        (record.recovered_seconds, "rate recovered after"),
    ):
        if seconds is not None:
            phrases.append(f"{words} {formats.duration(seconds)}")
    if not record.undone:
        phrases.append("NOT UNDONE" if final else "not undone yet")
    if record.note:
        phrases.append(formats.one_line(record.note))
    return phrases


def loss(cell: Cell) -> str:
    """What the runs of a cell lost: ``none`` only where every one of them proved it."""
    parts = [formats.chunks(cell.lost)] if cell.lost else []
    if cell.dead_lettered:
        parts.append(f"{cell.dead_lettered:,} given up")
    if cell.incomplete:
        parts.append(f"{cell.incomplete:,} of {formats.counted(cell.runs, 'run')} never completed")
    return ", ".join(parts) or ("none" if cell.lossless == cell.runs else "not proven")


def started(event: Started) -> str:
    """The line that a run begins with."""
    spec = event.spec
    return (
        f"run {spec.run_id} {'resumed' if event.resumed else 'started'}: {spec.backend} on {spec.substrate}, "
        f"{spec.parameters_total:,} parameters in {formats.chunks(spec.chunks_total)}, "
        f"{formats.counted(spec.workers, 'worker')}"
    )
