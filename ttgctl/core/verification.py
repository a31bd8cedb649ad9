"""The verdict once more: the ledger read anew from the broker where that is still there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import QueueCounts
from ttgctl.core.earlier import faults_of
from ttgctl.core.event_log import read_events
from ttgctl.core.judgement import judge, known_digests
from ttgctl.core.ledger import DEAD, DROPPED, REPLAYED, REPLAYING, Ledger
from ttgctl.core.ports import Substrate
from ttgctl.core.run_folder import RunFolder
from ttgctl.domain.events import Finished, Interrupted, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord, Verdict

_NOTHING = QueueCounts(tasks=0, in_flight=0, retry=0, dead=None, results=None)


def verify_run(
    spec: RunSpec, folder: RunFolder, *, substrate: Substrate, said: Callable[[str], None]
) -> Verdict:
    """Reads all results again from the first, if the broker is there, and compares them with the
    ledger; else judges by the ledger alone, and says so in the notes. Changes neither."""
    events = list(read_events(folder.events)) if folder.events.exists() else []
    # One that timed out has a verdict too, and the word that it was interrupted after it.
    turns = [event for event in events if isinstance(event, Started | Finished | Interrupted)]
    finished = bool(turns) and isinstance(turns[-1], Finished)
    earlier = next((e.verdict for e in reversed(events) if isinstance(e, Finished)), None)
    faults = faults_of(events)
    with closing(Ledger(folder.ledger, spec, expected_digest=known_digests(spec))) as ledger:
        if _reachable(spec, folder, substrate):
            was_there = spec.placement.external_broker or substrate.broker_uid(spec) is not None
            try:
                read_again = _from_broker(spec, ledger, substrate, faults, said=said, finished=finished)
            finally:
                if not was_there:
                    substrate.stop_broker(spec)
            if read_again is not None:
                return _compared(read_again, ledger)
        note = "the broker is gone: this is what the ledger holds"
        verdict = judge(ledger, spec, queues=_NOTHING, faults=faults, notes=[note], finished=finished)
        if earlier is not None:
            verdict = replace(verdict, queues_after=earlier.queues_after, recovery=earlier.recovery)
        return verdict


def _reachable(spec: RunSpec, folder: RunFolder, substrate: Substrate) -> bool:
    if spec.placement.external_broker:
        return folder.broker_url.is_file()
    return bool(substrate.owned(spec.run_id))


def _from_broker(
    spec: RunSpec,
    ledger: Ledger,
    substrate: Substrate,
    faults: tuple[FaultRecord, ...],
    *,
    said: Callable[[str], None],
    finished: bool,
) -> Verdict | None:
    endpoint = substrate.start_broker(spec, said)
    with (
        closing(open_broker(endpoint.host_url, options=spec.delivery)) as broker,
        closing(Ledger(":memory:", spec, expected_digest=known_digests(spec))) as again,
    ):
        if not broker.exists(spec.run_id):
            return None
        with closing(broker.observer(spec.run_id)) as observer:
            for result in observer.results():
                # Caught up, and as far as the ledger at the least: what is there is read.
                if result is None and again.results_position >= ledger.results_position:
                    break
                if result is not None:
                    again.record_result(result)
            # Those that were put back or dropped may be there no more.
            last_dead = max(
                (dead.position for dead, state in ledger.dead_letters() if state == DEAD), default=-1
            )
            for letter in observer.dead_letters():
                if letter is None and again.dead_letters_position >= last_dead:
                    break
                if letter is not None:
                    again.record_dead_letter(letter)
        again.record_published(attempted=ledger.attempted, acknowledged=ledger.acknowledged)
        for settled in (REPLAYING, REPLAYED, DROPPED):
            positions = [letter.position for letter, state in ledger.dead_letters() if state == settled]
            again.settle_dead_letters(positions, settled)
        first = ledger.first_delivery_at
        if first is not None:
            again.saw_delivery(first)
        queues = broker.counts(spec.run_id)
        note = "read again from the broker, from the first result on"
        return judge(again, spec, queues=queues, faults=faults, notes=[note], finished=finished)


def _compared(verdict: Verdict, ledger: Ledger) -> Verdict:
    if ledger.totals.ok < verdict.chunks.ok:
        said = f"has {ledger.totals.ok:,} of these results so far"
    else:
        agree = verdict.checksum is None or verdict.checksum == ledger.checksum()
        said = "agrees with the broker" if agree else "DOES NOT agree with the broker"
    return replace(verdict, notes=(*verdict.notes, f"the ledger {said}"))
