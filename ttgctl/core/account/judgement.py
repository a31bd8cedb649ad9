"""From ledger to verdict: what was promised, what is there, and what that means."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from statistics import quantiles
from typing import Final

from ttg_worker import wire
from ttg_worker.brokers.base import DLQ, RESULTS, RETRY, TASKS, QueueCounts
from ttg_worker.compute.synthetic import synthetic_value
from ttgctl.core.account.failures import summaries
from ttgctl.core.account.ledger import CONFLICT, DEAD, DROPPED, Ledger
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ChunkAccount, FaultRecord, ParameterAccount, Recovery, Verdict

CONTROL_LOST_NOTHING: Final = (
    "the negative control lost nothing: no worker died with chunks that it had acked"
)


def expected_digest(spec: RunSpec, indices: Sequence[int]) -> str:
    """The digest of the values that a synthetic run has for these parameters."""
    values = b",".join([b"%d" % synthetic_value(spec.seed, index) for index in indices])
    return wire.digest(b"[%b]" % values)


def known_digests(spec: RunSpec) -> Callable[[Sequence[int]], str] | None:
    """The digest of the values of some parameters, by their indices; None for a workload whose values nobody
    knows yet."""
    return partial(expected_digest, spec) if spec.synthetic else None


def expected_checksum(spec: RunSpec) -> str | None:
    """The checksum of a lossless synthetic run; None for a workload whose values nobody knows yet."""
    if not spec.synthetic:
        return None
    total = hashlib.sha256()
    for chunk_id in range(spec.chunks_total):
        total.update(expected_digest(spec, spec.chunk_range(chunk_id)).encode())
    return total.hexdigest()


def judge(
    ledger: Ledger,
    spec: RunSpec,
    *,
    queues: QueueCounts,
    faults: Sequence[FaultRecord] = (),
    waits: Sequence[float] = (),
    notes: Sequence[str] = (),
    finished: bool = True,
) -> Verdict:
    """The verdict over what the ledger holds now.

    Of a run that is not ``finished`` what is missing is outstanding and not lost. ``queues`` are
    the counts after completion, ``waits`` the seconds that chunks taken from workers by faults
    waited until they were handed over again.
    """
    ledger.commit()
    totals = ledger.totals
    acknowledged = ledger.acknowledged
    missing = ledger.missing(spec.chunks_total)
    lost = [chunk_id for chunk_id in missing if chunk_id < acknowledged] if finished else []
    if missing and not finished:
        notes = [*notes, f"{len(missing):,} chunks are outstanding; go on with: ttgctl resume {spec.run_id}"]
    complete = ledger.accounted == spec.chunks_total
    conflicts = ledger.extras(CONFLICT)
    first, last = ledger.first_delivery_at, ledger.last_result_at()
    seconds = last - first if first is not None and last is not None else 0.0
    reused = ledger.reused or 0
    checksum = ledger.checksum() if totals.ok == spec.chunks_total else None
    expected = expected_checksum(spec)
    causes: Counter[str] = Counter(
        letter.message.cause for letter, state in ledger.dead_letters() if state in (DEAD, DROPPED)
    )
    # A chunk whose publish was never confirmed and that has a result all the same.
    unconfirmed = sum(ledger.has_result(c) for c in range(acknowledged, spec.chunks_total))
    account = ChunkAccount(
        attempted=ledger.attempted,
        acknowledged=acknowledged,
        ok=totals.ok,
        lost=len(lost),
        duplicated=totals.duplicated,
        recovered=ledger.redelivered_chunks() + unconfirmed,
        conflicting=len({chunk_id for chunk_id, _, _ in conflicts}),
        unexpected=totals.unexpected,
        retried=totals.retried,
        dead_lettered=len(ledger.dead),
    )
    lossless = (
        complete
        and not lost
        and not account.conflicting
        and not account.unexpected
        and not account.dead_lettered
        and (expected is None or checksum == expected)
    )
    return Verdict(
        run_id=spec.run_id,
        backend=spec.backend,
        substrate=spec.substrate,
        lossless=lossless,
        complete=complete,
        chunks=account,
        lost_chunks=tuple(lost),
        dead_lettered_chunks=tuple(sorted(ledger.dead)),
        conflicting_chunks=tuple(sorted({c for c, _, _ in conflicts if c is not None})),
        dead_letter_causes=dict(causes),
        parameters=ParameterAccount(
            total=spec.parameters_total,
            ok=totals.parameters_ok,
            failed=totals.parameters_failed,
            lost=ledger.parameters_missing(lost),
        ),
        seconds=round(seconds, 3),
        parameters_per_second=round(max(0, totals.parameters_ok - reused) / seconds, 1)
        if seconds > 0
        else 0.0,
        queues_after={
            TASKS: queues.tasks,
            RESULTS: queues.results if queues.results is not None else totals.messages,
            RETRY: queues.retry,
            DLQ: queues.dead if queues.dead is not None else totals.open_dead_letters,
        },
        faults=tuple(faults),
        recovery=_recovery(waits),
        checksum=checksum,
        checksum_expected=expected,
        unmet=_unmet(spec, faults, lossless=lossless),
        notes=tuple(notes),
        errors=summaries(ledger, spec) if totals.parameters_failed else (),
        reused=reused,
    )


def _unmet(spec: RunSpec, faults: Sequence[FaultRecord], *, lossless: bool) -> tuple[str, ...]:
    # A control that loses nothing shows nothing: it must not look like a success.
    bitten = (CONTROL_LOST_NOTHING,) if spec.unsafe_ack_early and lossless else ()
    if not spec.require_effect:
        return bitten
    missed = [fault for fault in faults if fault.effect is None]
    words = ("hit nothing" if fault.victim is None else "showed no effect" for fault in missed)
    named = (f"{f.kind} (fault {f.fault_id}) {said}" for f, said in zip(missed, words, strict=True))
    return (*bitten, *named)


def _recovery(waits: Sequence[float]) -> Recovery | None:
    if not waits:
        return None
    ordered = sorted(waits)
    cuts = quantiles(ordered, n=100, method="inclusive") if len(ordered) > 1 else ordered * 99
    return Recovery(
        p50_seconds=round(cuts[49], 3), p99_seconds=round(cuts[98], 3), max_seconds=round(ordered[-1], 3)
    )
