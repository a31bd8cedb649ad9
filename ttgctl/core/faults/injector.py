"""Injects a run's faults when they are due and gathers the proof that they bit.

Candidates, victims, one act: only workers of this run that work on it right now are candidates,
the seed puts them in order, and the first of them are the victims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from ttg_worker.wire import ChunkResult, DeadLetter
from ttgctl.core.faults.active_fault import AGAIN_SECONDS, ActiveFault
from ttgctl.core.faults.acts import Act, act_on_broker, act_on_node, act_on_worker
from ttgctl.core.faults.background import submit
from ttgctl.core.faults.chunk_faults import ChunkFault
from ttgctl.core.faults.powers import StopsNodes, why_not
from ttgctl.core.faults.proof import ChunkAttribution
from ttgctl.core.faults.view import RunView
from ttgctl.core.ports import Clock, Substrate, SubstrateError, WorkerStatus
from ttgctl.domain.fault_schedule import Occurrence, by_number, occurrences, victim_order
from ttgctl.domain.faults import FaultPlan
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord

# Of the faults that are over so many are followed for further proof; older ones stay as they are.
FOLLOWED_MOST: Final = 50
# So long a fault waits for a victim that holds a chunk for certain.
CHOOSY_SECONDS: Final = 1.0


class _PendingFault:
    """An occurrence that is due since ``since`` and has not found all of its victims yet."""

    def __init__(self, occurrence: Occurrence, wanted: int, *, since: float) -> None:
        self.occurrence = occurrence
        self.wanted = wanted
        self.since = since
        self.not_before = 0.0
        self.allowed = False
        self.asking: Future[str | None] | None = None
        self.problem: str | None = None


class FaultInjector:
    """Called by one thread. ``earlier`` has the records of commands that ran this run before:
    what they injected is not injected again, and their records stay. One that ``resumes`` does not know what
    chunks were taken from workers before."""

    def __init__(
        self,
        plan: FaultPlan,
        *,
        spec: RunSpec,
        substrate: Substrate,
        clock: Clock,
        earlier: Sequence[FaultRecord] = (),
        resumes: bool = False,
    ) -> None:
        self._spec = spec
        self._substrate = substrate
        self._clock = clock
        on_chunks = {index for index, fault in enumerate(plan.faults) if not fault.timed}
        self._earlier = [
            _undone(r) for r in earlier if r.victim is not None and r.plan_index not in on_chunks
        ]
        done = {(record.plan_index, record.occurrence) for record in self._earlier}
        self._next_id = max((record.fault_id for record in self._earlier), default=0)
        self._coming: list[tuple[Occurrence, Iterator[Occurrence]]] = []
        self._on_chunks: list[ChunkFault] = []
        for index, fault in enumerate(plan.faults):
            if fault.timed:
                self._follow(
                    o for o in occurrences(fault, index=index, seed=spec.seed) if _key(o) not in done
                )
            else:
                self._next_id += 1
                self._on_chunks.append(ChunkFault(self._next_id, fault, index=index, spec=spec))
        self._first_delivery_at: float | None = None
        self._pending: list[_PendingFault] = []
        self._active: list[ActiveFault] = []
        # Faults that are over for good: as they were then, and what their chunks waited.
        self._retired: list[FaultRecord] = []
        self._retired_waits: list[float] = []
        self._hit: set[str] = set()
        self._missed: list[FaultRecord] = []
        self._attribution = ChunkAttribution(causes=[clock.time()] if resumes else [])
        self._running: set[str] = set()
        self._broker_answered = True
        self._ordinals: dict[str, int] = {}
        self._told: dict[int, FaultRecord] = {}
        self._over = False

    def _follow(self, rest: Iterator[Occurrence]) -> None:
        upcoming = next(rest, None)
        if upcoming is not None:
            self._coming.append((upcoming, rest))

    @property
    def records(self) -> list[FaultRecord]:
        """All faults so far, the proof of each as it stands now."""
        found = [*self._earlier, *self._retired, *self._changing()]
        return sorted(found, key=lambda record: record.fault_id)

    def _changing(self) -> list[FaultRecord]:
        """Those that may change still; what was retired, or came of earlier commands, does not."""
        on_chunks = [f.record(first_delivery_at=self._first_delivery_at) for f in self._on_chunks]
        mine = [record for active in self._active if (record := active.record) is not None]
        return [*on_chunks, *mine, *self._missed]

    @property
    def waits(self) -> list[float]:
        """The seconds that each chunk taken from a victim waited until it was handed over again."""
        followed = [wait for i in self._active if i.proof is not None for wait in i.proof.waits]
        return [*self._retired_waits, *followed]

    @property
    def pending(self) -> bool:
        """Whether a fault is still to come, or the proof of one."""
        return not self._over and bool(self._coming or self._pending or any(i.open for i in self._active))

    @property
    def unsettled(self) -> bool:
        """Whether a fault is in effect: what seems lost may come back when it is undone."""
        return any(i.in_effect for i in self._active)

    @property
    def holds_broker_down(self) -> bool:
        """Whether the broker is, or may be, away because a fault wants it so."""
        nodes = any(i.in_effect and i.occurrence.spec.target == "node" for i in self._active)
        return nodes or self._broker_suffers

    @property
    def _broker_suffers(self) -> bool:
        return any(i.in_effect and i.occurrence.spec.target == "broker" for i in self._active)

    def tick(self, view: RunView) -> list[FaultRecord]:
        """Injects what is due and takes in what the view shows; returns records that changed."""
        self._first_delivery_at = view.first_delivery_at
        for worker_id in sorted({w.worker_id for w in view.workers} - self._ordinals.keys(), key=by_number):
            self._ordinals[worker_id] = len(self._ordinals) + 1
        self._look_for_causes(view)
        for active in self._active:
            active.tick(view)
        self._drop_failed()
        if view.first_delivery_at is not None and not self._over:
            self._call_due(view)
            for pending in list(self._pending):
                self._pursue(pending, view)
        return self._changed()

    def _look_for_causes(self, view: RunView) -> None:
        """What else takes chunks from workers: deaths that are no fault's doing, and outages."""
        before, self._running = self._running, {w.uid for w in view.workers if w.running}
        killed = {r.uid for i in self._active if (r := i.record) is not None} | self._hit
        went = before - self._running - killed
        goes = self._broker_answered and not view.broker_answers and not self._broker_suffers
        self._broker_answered = view.broker_answers
        if went or goes:
            self._attribution.causes.append(view.now)

    def saw_result(self, result: ChunkResult) -> None:
        """To be told every result that the broker holds, the first of a chunk or not."""
        for active in self._active:
            active.see_result(result)
        for fault in self._on_chunks:
            fault.see_result(result)

    def saw_dead_letter(self, letter: DeadLetter) -> None:
        """To be told every dead letter."""
        for fault in self._on_chunks:
            fault.see_dead_letter(letter)

    def undo(self) -> list[FaultRecord]:
        """Undoes what is in effect and injects no more; returns records that changed. Idempotent."""
        errors = []
        for active in self._active:
            # One that can't be undone keeps no other in effect.
            try:
                active.undo()
            except Exception as error:
                errors.append(error)
        self._drop_failed()
        if not self._over:
            self._over = True
            self._missed = list(self._misses())
        if errors:
            raise errors[0]
        return self._changed()

    def _changed(self) -> list[FaultRecord]:
        changed = [record for record in self._changing() if self._worth_telling(record)]
        self._told.update((record.fault_id, record) for record in changed)
        self._retire()
        return changed

    def _retire(self) -> None:
        """Lets go of faults that are over: a tick must not cost more for each fault that ever was."""
        over = [i for i in self._active if i.proof is not None and not i.in_effect]
        too_many = over[:-FOLLOWED_MOST]
        for active in [i for i in over if i in too_many or i.is_history]:
            record = active.record
            assert record is not None
            self._active.remove(active)
            self._told.pop(record.fault_id, None)
            self._retired.append(record)
            self._retired_waits += active.proof.waits if active.proof is not None else ()

    def _worth_telling(self, record: FaultRecord) -> bool:
        told = self._told.get(record.fault_id)
        if told == record:
            return False
        # Faults of chunks count on all the time: their first bite and their sum are news.
        counting = not self._over and record.uid is None and record.victim is not None
        return not counting or (record.effect is not None and (told is None or told.effect is None))

    def _call_due(self, view: RunView) -> None:
        coming, self._coming = self._coming, []
        for occurrence, rest in coming:
            if occurrence.due(fraction=view.fraction, elapsed_seconds=view.elapsed_seconds):
                self._pending.append(self._as_pending(occurrence, view))
                self._follow(rest)
            else:
                self._coming.append((occurrence, rest))

    def _as_pending(self, occurrence: Occurrence, view: RunView) -> _PendingFault:
        fault = occurrence.spec
        if fault.target == "broker":
            wanted = 1
        elif fault.target == "node":
            wanted = fault.how_many(len({w.node for w in view.workers if w.node is not None}))
        else:
            wanted = fault.how_many(self._spec.workers)
        return _PendingFault(occurrence, wanted, since=view.now)

    def _pursue(self, pending: _PendingFault, view: RunView) -> None:
        if view.now < pending.not_before or not self._may(pending):
            return
        for act in self._acts(pending, view)[: pending.wanted]:
            self._next_id += 1
            active = ActiveFault(self._next_id, pending.occurrence, act, clock=self._clock)
            self._active.append(active)
            pending.wanted -= 1
            active.begin(view, attribution=self._attribution)
        if pending.wanted == 0:
            self._pending.remove(pending)

    def _may(self, pending: _PendingFault) -> bool:
        """Whether the substrate can inject it at all, asked once for each."""
        if not pending.allowed:
            if pending.asking is None:
                kind = pending.occurrence.spec.kind
                pending.asking = submit(
                    lambda: why_not(self._substrate, kind), background=self._substrate.remote
                )
            if not pending.asking.done():
                return False
            asked, pending.asking = pending.asking, None
            try:
                pending.problem = asked.result()
                pending.allowed = pending.problem is None
                pending.not_before = 0.0 if pending.allowed else float("inf")
            # A cluster that does not answer just now may do so in a second.
            except SubstrateError as error:
                pending.problem = str(error)
                pending.not_before = self._clock.time() + AGAIN_SECONDS
        return pending.allowed

    def _drop_failed(self) -> None:
        """An act that failed hit nothing: its occurrence looks for another victim."""
        for active in [i for i in self._active if i.failure is not None]:
            self._active.remove(active)
            pending = next((h for h in self._pending if h.occurrence == active.occurrence), None)
            if pending is None:
                pending = _PendingFault(active.occurrence, 0, since=self._clock.time())
                self._pending.append(pending)
            pending.wanted += 1
            pending.problem = str(active.failure)
            pending.not_before = self._clock.time() + AGAIN_SECONDS

    def _acts(self, pending: _PendingFault, view: RunView) -> list[Act]:
        """What could be done now, to the first victim first."""
        fault, substrate = pending.occurrence.spec, self._substrate
        if fault.target == "broker":
            if self._broker_suffers:
                return []
            return [act_on_broker(fault, self._spec, substrate, clock=self._clock)]
        candidates = {self._ordinals[w.worker_id]: w for w in self._candidates(pending, view)}
        order = victim_order(pending.occurrence, candidates, seed=self._spec.seed)
        workers = [candidates[ordinal] for ordinal in order]
        if fault.target == "worker":
            acts = (act_on_worker(fault, worker, substrate) for worker in workers)
            return [act for act in acts if act is not None]
        if not isinstance(substrate, StopsNodes):
            return []
        # A node comes where the first of its workers comes.
        nodes = dict.fromkeys(w.node for w in workers if w.node is not None)
        return [act_on_node(fault, node, _workers_on(node, view), substrate) for node in nodes]

    def _candidates(self, pending: _PendingFault, view: RunView) -> Iterator[WorkerStatus]:
        """Workers that have a chunk of this run in hand and that no fault holds at the moment."""
        suffering = {w for i in self._active if i.in_effect or i.record is None for w in i.act.workers}
        self._hit |= {
            i.record.uid
            for i in self._active
            if i.act.end is None and i.record is not None and i.record.uid is not None
        }
        for worker in view.workers:
            heartbeat = view.heartbeats.get(worker.worker_id)
            # Whatever a substrate may list: who has no heartbeat on this run's broker is not of this run.
            if heartbeat is None or heartbeat.run_id != self._spec.run_id or heartbeat.chunk_id is None:
                continue
            # A heartbeat is a moment old: at first only whose chunk is surely not done, later whoever works.
            if view.has_result(heartbeat.chunk_id) and view.now - pending.since < CHOOSY_SECONDS:
                continue
            if not worker.running or worker.worker_id in suffering or worker.uid in self._hit:
                continue
            labels = {**worker.labels, "worker-id": worker.worker_id, "node": worker.node or ""}
            if all(labels.get(label) == wanted for label, wanted in pending.occurrence.spec.where):
                yield worker

    def _misses(self) -> Iterator[FaultRecord]:
        """Records of what was planned and hit nothing; an ``every`` that hit before is no miss."""
        had_one = {(record.plan_index, record.kind) for record in self.records}
        left = [
            (pending.occurrence, pending.problem or "no worker of the run was a candidate")
            for pending in self._pending
        ]
        left += [
            (occurrence, "the run ended before it was due")
            for occurrence, _ in self._coming
            if (occurrence.index, occurrence.spec.kind) not in had_one
        ]
        for occurrence, note in left:
            self._next_id += 1
            yield FaultRecord(
                fault_id=self._next_id,
                kind=occurrence.spec.kind,
                victim=None,
                at_seconds=occurrence.at_seconds or 0.0,
                note=note,
                plan_index=occurrence.index,
                occurrence=occurrence.number,
            )


def _undone(earlier: FaultRecord) -> FaultRecord:
    """What a killed command left in effect is over: a substrate ends it before workers start again."""
    if earlier.undone:
        return earlier
    return replace(earlier, undone=True, note="undone by a later command: this one was killed")


def _key(occurrence: Occurrence) -> tuple[int, int]:
    return occurrence.index, occurrence.number


def _workers_on(node: str, view: RunView) -> frozenset[str]:
    return frozenset(w.worker_id for w in view.workers if w.node == node)
