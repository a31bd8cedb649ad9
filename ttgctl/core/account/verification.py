"""The verdict once more: the ledger read anew from the broker where that is still there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Final, TypeVar

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import Observer, QueueCounts, Recorded
from ttgctl.core.account.judgement import judge, known_digests
from ttgctl.core.account.ledger import DEAD, DROPPED, REPLAYED, REPLAYING, Ledger
from ttgctl.core.ports import Substrate
from ttgctl.core.records.event_log import read_events
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.core.records.run_record import faults_of
from ttgctl.domain.events import Finished, Interrupted, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord, Verdict

# A broker that gives no more for so long holds no more, whatever the ledger has.
QUIET_SECONDS: Final = 10.0
T = TypeVar("T")
_NOTHING: Final = QueueCounts(tasks=0, in_flight=0, retry=0, dead=None, results=None)


def verify_run(
    spec: RunSpec, folder: RunFolder, *, substrate: Substrate, said: Callable[[str], None]
) -> Verdict:
    """Reads all results again from the first, if the broker has them, and compares them with the
    ledger; else judges by the ledger alone, and says so in the notes. Changes neither. A broker
    that holds less than the ledger is judged by what it holds, and the notes say so."""
    events = list(read_events(folder.events)) if folder.events.exists() else []
    # One that timed out has a verdict too, and the word that it was interrupted after it.
    turns = [event for event in events if isinstance(event, Started | Finished | Interrupted)]
    finished = bool(turns) and isinstance(turns[-1], Finished)
    earlier = next((e.verdict for e in reversed(events) if isinstance(e, Finished)), None)
    faults = faults_of(events)
    with closing(Ledger(folder.ledger, spec, expected_digest=known_digests(spec))) as ledger:
        if not ledger.has_begun_again and _reachable(spec, folder, substrate):
            was_there = spec.placement.external_broker or substrate.broker_uid(spec) is not None
            try:
                read_again = _from_broker(spec, ledger, substrate, faults, said=said, finished=finished)
            finally:
                if not was_there:
                    substrate.stop_broker(spec)
            if read_again is not None:
                return read_again
        gone = "the queues hold what came last alone" if ledger.has_begun_again else "the broker is gone"
        note = f"{gone}: this is what the ledger holds"
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
            _read_again(observer, again, ledger)
        again.record_published(attempted=ledger.attempted, acknowledged=ledger.acknowledged)
        for settled in (REPLAYING, REPLAYED, DROPPED):
            positions = [letter.position for letter, state in ledger.dead_letters() if state == settled]
            again.settle_dead_letters(positions, settled)
        first, last = ledger.first_delivery_at, ledger.last_result_at()
        if first is not None:
            again.saw_delivery(first)
        if last is not None:
            again.saw_result(last)
        queues = broker.counts(spec.run_id)
        notes = ["read again from the broker, from the first result on", _comparison(ledger, again)]
        return judge(again, spec, queues=queues, faults=faults, notes=notes, finished=finished)


def _read_again(observer: Observer, again: Ledger, ledger: Ledger) -> None:
    _read(observer.results(), again.record_result, upto=ledger.results_position)
    # Those that were put back or dropped may be there no more.
    last_dead = max((dead.position for dead, state in ledger.dead_letters() if state == DEAD), default=-1)
    _read(observer.dead_letters(), again.record_dead_letter, upto=last_dead)


def _read(found: Iterator[Recorded[T] | None], record: Callable[[Recorded[T]], object], *, upto: int) -> None:
    """Records all there is: as far as position ``upto`` at the least, unless no more comes."""
    position, came_at = -1, time.monotonic()
    for recorded in found:
        if recorded is not None:
            record(recorded)
            position, came_at = recorded.position, time.monotonic()
        elif position >= upto or time.monotonic() - came_at > QUIET_SECONDS:
            return


def _comparison(ledger: Ledger, again: Ledger) -> str:
    """What the ledger is to ``again``, which is what the broker holds."""
    here, there = ledger.totals, again.totals
    fewer = [
        f"{held:,} of its {known:,} {what}"
        for what, held, known in (
            ("results", there.messages, here.messages),
            ("dead letters", there.open_dead_letters, here.open_dead_letters),
        )
        if held < known
    ]
    if fewer:
        return f"the ledger DOES NOT agree with the broker, which holds {' and '.join(fewer)}"
    if here.ok < there.ok:
        return f"the ledger has {here.ok:,} of these results so far"
    agree = ledger.checksum() == again.checksum()
    return f"the ledger {'agrees' if agree else 'DOES NOT agree'} with the broker"
