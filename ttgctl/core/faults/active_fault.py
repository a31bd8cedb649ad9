"""One fault on one victim, from the act to its last proof."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from ttg_worker.wire import ChunkResult
from ttgctl.core.faults.acts import Act
from ttgctl.core.faults.background import submit
from ttgctl.core.faults.proof import ADOPTION_SECONDS, ChunkAttribution, Proof
from ttgctl.core.faults.silence import LEAST_SECONDS, Silence
from ttgctl.core.faults.view import RunView
from ttgctl.core.ports import Clock, Evidence, SubstrateError
from ttgctl.domain.fault_kinds import FAULT_KINDS
from ttgctl.domain.fault_schedule import Occurrence
from ttgctl.domain.verdict import FaultRecord

# What could not be undone is tried again so often.
AGAIN_SECONDS: Final = 1.0
# A silence can't be told apart from any other in a fault that was shorter.
TELLING_SECONDS: Final = 2 * LEAST_SECONDS


class ActiveFault:
    """Begins with :meth:`begin`; then :meth:`tick` carries it on until ``in_effect`` is over."""

    def __init__(self, fault_id: int, occurrence: Occurrence, act: Act, *, clock: Clock) -> None:
        self.occurrence = occurrence
        self.act = act
        self.proof: Proof | None = None
        self.failure: SubstrateError | None = None
        self._fault_id = fault_id
        self._clock = clock
        self._evidence: Evidence | None = None
        self._beginning: Future[Evidence] | None = None
        self._ending: Future[str | None] | None = None
        self._ended = act.end is None
        self._over_at: float | None = None
        self._end_at = float("inf")
        self._effect: str | None = None
        self._note: str | None = None
        self._silence: Silence | None = None
        # What came while the act was going on belongs to its proof as well.
        self._early: list[ChunkResult] = []
        self._first_delivery_at = 0.0

    @property
    def in_effect(self) -> bool:
        """The victim suffers still, or is being hit or let go right now."""
        return self.failure is None and not (self._ended and self._evidence is not None)

    @property
    def open(self) -> bool:
        """More proof may come in."""
        if self.failure is not None:
            return False
        return self.in_effect or self.proof is None or not self.proof.complete or self.effect is None

    @property
    def is_history(self) -> bool:
        """Nothing can change any more: the proof is complete, and no chunk comes to light that it took."""
        if self._evidence is None or self.open:
            return False
        return self._clock.time() - self._evidence.at > ADOPTION_SECONDS

    def begin(self, view: RunView, *, attribution: ChunkAttribution) -> None:
        """Does the act, in the background if it is slow. What the victim holds is read first."""
        self._first_delivery_at = view.first_delivery_at or view.now
        self._silence = Silence(self.act.workers, view)
        self._view, self._attribution = view, attribution
        # Now and not when the act has returned, which may take seconds in which chunks come back.
        attribution.causes.append(view.now)
        self._beginning = submit(self.act.begin, background=self.act.slow)
        self._look_at_beginning()

    def tick(self, view: RunView) -> None:
        """Takes the next step that is due, and what ``view`` shows of the effect."""
        self._look_at_beginning()
        if self._evidence is None or self.proof is None:
            return
        self.proof.see_view(view, over_at=self._over_at)
        self._look_at_ending()
        self._look_for_effect(view)
        if self.in_effect and self._ending is None and self._clock.time() >= self._end_at:
            self._end(background=self.act.slow)

    def see_result(self, result: ChunkResult) -> None:
        if self.proof is not None:
            self.proof.see_result(result)
        elif self.failure is None:
            self._early.append(result)

    def undo(self) -> None:
        """Undoes what is in effect, now; what fails is said in the record."""
        if self._beginning is not None:
            # Not caught in the middle: what has begun must have ended its beginning to be undone.
            self._beginning.exception()
            self._look_at_beginning()
        if self._ending is not None:
            self._ending.exception()
            self._look_at_ending()
        if self.in_effect:
            self._end(background=False)
            self._look_at_ending()
        self._end_silence()

    def _look_at_beginning(self) -> None:
        if self._beginning is None or not self._beginning.done():
            return
        beginning, self._beginning = self._beginning, None
        try:
            self._evidence = evidence = beginning.result()
        except SubstrateError as error:
            # It hit nothing, so nothing that comes back was taken by it.
            self._attribution.causes.remove(self._view.now)
            self.failure = error
            return
        self._effect = evidence.effect
        if self._ended:
            self._over_at = evidence.at
        if self.act.duration_seconds is not None:
            self._end_at = evidence.at + self.act.duration_seconds
        self.proof = Proof(self.act.workers, self._view, at=evidence.at, attribution=self._attribution)
        for result in self._early:
            self.proof.see_result(result)
        self._early.clear()

    def _end(self, *, background: bool) -> None:
        assert self.act.end is not None
        self._ending = submit(self.act.end, background=background)

    def _look_at_ending(self) -> None:
        if self._ending is None or not self._ending.done():
            return
        ending, self._ending = self._ending, None
        try:
            self._effect = ending.result() or self._effect
        except SubstrateError as error:
            how = FAULT_KINDS[self.occurrence.spec.kind].undone_by
            self._note = f"not undone by {how}: {error}"
            self._end_at = self._clock.time() + AGAIN_SECONDS
            return
        self._ended, self._note = True, None
        self._over_at = self._clock.time()
        if self.proof is not None and self._evidence is not None and self.occurrence.spec.target == "broker":
            self.proof.replaced_seconds = round(self._over_at - self._evidence.at, 3)

    def _look_for_effect(self, view: RunView) -> None:
        assert self._evidence is not None
        assert self._silence is not None
        heard = self._silence.see(view)
        gone = not any(w.running for w in view.workers if w.worker_id in self.act.workers)
        # A worker that spoke after the fault survived it, whatever ended it later.
        unheard = self._silence.heard_from <= self._evidence.at and self.act.victim in self.act.workers
        if self._effect is None and (unheard or self.act.end is None):
            self._effect = _effect_of_kill(self.act.victim, self._evidence.uid, view)
        if self._over_at is not None and (heard or gone):
            self._end_silence()

    def _end_silence(self) -> None:
        # Nothing is to be learnt from the silence of what was killed.
        if self._silence is not None and self.act.end is not None:
            self._silence.end(fault_seconds=self._seconds)

    @property
    def _seconds(self) -> float:
        """How long it is, or was, in effect."""
        began = self._clock.time() if self._evidence is None else self._evidence.at
        return (self._over_at or self._clock.time()) - began

    @property
    def effect(self) -> str | None:
        """What was seen of it so far."""
        silence = None if self._silence is None else self._silence.words
        return "; ".join(filter(None, (self._effect, silence))) or None

    @property
    def _doubt(self) -> str | None:
        """What it means that it came and went and nothing was seen of it."""
        if self.act.end is None or self._evidence is None or self.effect is not None:
            return None
        if self._over_at is None or self._silence is None or not self._silence.ended:
            return None
        if self._seconds < TELLING_SECONDS:
            return f"undone after {self._seconds:.1f} s, too soon for an effect to show"
        return self._evidence.without_effect

    @property
    def record(self) -> FaultRecord | None:
        """The fault and its proof so far; None while, or if, it did not happen."""
        evidence, proof, occurrence = self._evidence, self.proof, self.occurrence
        if evidence is None or proof is None:
            return None
        return FaultRecord(
            fault_id=self._fault_id,
            kind=occurrence.spec.kind,
            victim=evidence.victim,
            at_seconds=round(max(0.0, evidence.at - self._first_delivery_at), 3),
            uid=evidence.uid,
            node=evidence.node,
            method=evidence.method,
            chunks_held=tuple(sorted(proof.chunks_held)),
            effect=self.effect,
            undone=self._ended,
            redelivered_seconds=proof.redelivered_seconds,
            replaced_seconds=proof.replaced_seconds,
            recovered_seconds=proof.recovered_seconds,
            note=self._note or self._doubt,
            plan_index=occurrence.index,
            occurrence=occurrence.number,
        )


def _effect_of_kill(victim: str, uid: str, view: RunView) -> str | None:
    now_there = {w.worker_id: w for w in view.workers if w.running}
    if any(w.uid == uid for w in now_there.values()):
        return None
    return "uid changed" if victim in now_there else "process gone"
