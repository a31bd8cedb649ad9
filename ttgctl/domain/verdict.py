"""What the ledger says of a finished (or abandoned) run. Its JSON is an interface: keys stay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

# Of the verdict's JSON; docs/verdict.md has its keys. 2: parameters are an object.
SCHEMA: Final = 2


class ExitCode(IntEnum):
    """What a command's exit code means."""

    LOSSLESS = 0
    USAGE = 2
    MISSING = 3
    SUBSTRATE = 4
    BROKER = 5
    TIMED_OUT = 6
    LOSS = 7
    DEAD_LETTERS = 8
    INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class ChunkAccount:
    """Counts of distinct chunks, in the words of Jepsen's total-queue check; but for ``duplicated``,
    ``retried`` and ``unexpected``, which count messages.

    attempted: publishing was tried. acknowledged: the broker confirmed. ok: a result is in the
    ledger. lost: acknowledged, and neither a result nor a dead letter. duplicated: results beyond
    a chunk's first, equal to it. recovered: ok although a holder died or the publish was never
    confirmed. conflicting: results that differ from the first, or from their own checksum, or
    from what the workload must give. unexpected: results of no chunk of this run. retried:
    attempts that failed and were asked for again. dead_lettered: given up and with no result.
    """

    attempted: int
    acknowledged: int
    ok: int
    lost: int
    duplicated: int
    recovered: int
    conflicting: int
    unexpected: int
    retried: int
    dead_lettered: int


@dataclass(frozen=True, kw_only=True)
class ParameterAccount:
    """Counts of parameters. ok: there is a value. failed: given up. lost: neither, and the broker had
    confirmed its chunk. What is left of ``total`` is outstanding."""

    total: int
    ok: int
    failed: int
    lost: int


@dataclass(frozen=True, kw_only=True)
class ErrorSummary:
    """One error in one line, how many parameters failed with it, and the indices of the first of them."""

    error: str
    count: int
    parameters: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FaultRecord:
    """One injected fault and its proof. Seconds are from the first delivery; None: not seen.

    ``method`` is what was done to the victim (``SIGKILL``, ``relay``), None for faults of chunks
    and for what did not happen. ``effect`` says what was observed (``uid changed``, ``connection
    lost``), None that the fault hit nothing. ``redelivered_seconds`` is the longest wait of the
    held chunks until a worker had them again, ``replaced_seconds`` until a replacement worked,
    ``recovered_seconds`` until the rate was back at four fifths. ``plan_index`` counts the plan's
    lines from 0, ``occurrence`` the times that this line was due.
    """

    fault_id: int
    kind: str
    victim: str | None
    at_seconds: float
    uid: str | None = None
    node: str | None = None
    method: str | None = None
    chunks_held: tuple[int, ...] = ()
    effect: str | None = None
    undone: bool = True
    redelivered_seconds: float | None = None
    replaced_seconds: float | None = None
    recovered_seconds: float | None = None
    note: str | None = None
    plan_index: int = 0
    occurrence: int = 0


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Redelivery waits of all chunks that a fault took from a worker, in seconds."""

    p50_seconds: float
    p99_seconds: float
    max_seconds: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``lossless``: every chunk has exactly one accepted result, none lost, conflicting or given up.

    ``seconds`` runs from the first delivery to the last result. ``checksum`` is over the digests
    of all chunks in order; ``checksum_expected`` is None where the workload's values are not
    known beforehand. ``dead_letter_causes`` counts messages by cause, also those that were no chunk
    of the run, such as garbage: they are shown, and as they cost the run no chunk, ``lossless`` and
    the exit code do not look at them. ``complete``: nothing is outstanding. ``unmet`` names what was
    required of the run and not seen (a fault that had to bite). ``errors`` are why parameters failed, the
    most frequent first. ``reused`` counts
    parameters whose values are those of an earlier run. ``notes`` say what a reader must know.
    """

    run_id: str
    backend: str
    substrate: str
    lossless: bool
    complete: bool
    chunks: ChunkAccount
    lost_chunks: tuple[int, ...]
    dead_lettered_chunks: tuple[int, ...]
    conflicting_chunks: tuple[int, ...]
    dead_letter_causes: dict[str, int]
    parameters: ParameterAccount
    seconds: float
    parameters_per_second: float
    queues_after: dict[str, int]
    faults: tuple[FaultRecord, ...]
    recovery: Recovery | None
    checksum: str | None
    checksum_expected: str | None
    unmet: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    errors: tuple[ErrorSummary, ...] = ()
    reused: int = 0
    schema: int = SCHEMA

    @property
    def exit_code(self) -> ExitCode:
        """The one place where a verdict becomes an exit code, the gravest first: loss or conflict, then what
        is outstanding (as when the time was over), then what was required and not seen, then dead letters."""
        account = self.chunks
        if account.lost or account.conflicting or account.unexpected:
            return ExitCode.LOSS
        if self.checksum_expected is not None and self.checksum not in (None, self.checksum_expected):
            return ExitCode.LOSS
        if not self.complete:
            return ExitCode.TIMED_OUT
        if self.unmet:
            return ExitCode.SUBSTRATE
        return ExitCode.DEAD_LETTERS if account.dead_lettered else ExitCode.LOSSLESS
