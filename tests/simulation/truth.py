"""What an omniscient observer knows of a run, and where a verdict says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from simulation.broker import RUN, Network
from simulation.plan import Plan
from simulation.substrate import Act, SimulatedSubstrate
from ttg_worker import wire
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.wire import ChunkResult, DeadLetter
from ttgctl.domain.faults import parse_plan
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import FaultRecord, Verdict

# Which acts of the substrate a fault is made of.
ACTS: Final = {"slow-worker": "stop-worker"}


@dataclass
class Truth:
    """By what the broker holds. ``have`` are offsets with a value, by chunk."""

    have: dict[int, set[int]] = field(default_factory=dict)
    given_up: dict[int, set[int]] = field(default_factory=dict)
    conflicting: set[int] = field(default_factory=set)
    unexpected: int = 0
    duplicated: int = 0

    def missing(self, spec: RunSpec) -> set[int]:
        return {
            chunk_id
            for chunk_id, indices in spec.chunk_ranges()
            if len(self.have.get(chunk_id, set()) | self.given_up.get(chunk_id, set())) < len(indices)
        }


def truth_of(network: Network, spec: RunSpec, *, read_up_to: int) -> Truth:
    truth = Truth()
    run = network.memory.run(RUN)
    for position, message in run.results.messages.items():
        if position <= read_up_to:
            _add_result(truth, message, spec)
    for letter in run.dead.messages.values():
        if isinstance(letter, DeadLetter) and letter.chunk is not None:
            offsets = set(letter.chunk.offsets or range(letter.chunk.stop - letter.chunk.start))
            left = offsets - truth.have.get(letter.chunk.chunk_id, set())
            if left:
                truth.given_up.setdefault(letter.chunk.chunk_id, set()).update(left)
    return truth


def _add_result(truth: Truth, message: object, spec: RunSpec) -> None:
    if not isinstance(message, ChunkResult) or not 0 <= message.chunk_id < spec.chunks_total:
        truth.unexpected += 1
        return
    indices = spec.chunk_range(message.chunk_id)
    offsets = message.offsets or tuple(range(len(indices)))
    expected = [synthetic_value(spec.seed, indices[offset]) for offset in offsets]
    right = msgspec.json.decode(message.values) == expected
    if not right or wire.digest(bytes(message.values)) != message.digest:
        truth.conflicting.add(message.chunk_id)
        return
    have = truth.have.setdefault(message.chunk_id, set())
    truth.duplicated += have.issuperset(offsets)
    have.update(offsets)


def wrong_in(
    verdict: Verdict,
    plan: Plan,
    network: Network,
    substrate: SimulatedSubstrate,
    *,
    read_up_to: int,
    first_delivery_at: float,
) -> Iterator[str]:
    """Everything in which the verdict of a finished run is not true. ``read_up_to`` is the last position of
    the results that it can know."""
    spec = plan.spec
    truth = truth_of(network, spec, read_up_to=read_up_to)
    missing = truth.missing(spec)
    whole = {c for c, indices in spec.chunk_ranges() if len(truth.have.get(c, ())) == len(indices)}
    parameters_ok = sum(map(len, truth.have.values()))
    parameters_failed = sum(map(len, truth.given_up.values()))
    for what, said, true in (
        ("chunks.ok", verdict.chunks.ok, len(whole)),
        ("lost_chunks", verdict.lost_chunks, tuple(sorted(missing))),
        ("chunks.lost", verdict.chunks.lost, len(missing)),
        ("parameters.ok", verdict.parameters.ok, parameters_ok),
        ("parameters.failed", verdict.parameters.failed, parameters_failed),
        ("conflicting_chunks", set(verdict.conflicting_chunks), truth.conflicting),
        ("unexpected", verdict.chunks.unexpected, truth.unexpected),
        ("duplicated", verdict.chunks.duplicated, truth.duplicated),
        ("complete", verdict.complete, not missing),
        (
            "lossless",
            verdict.lossless,
            len(whole) == spec.chunks_total and not truth.conflicting and not truth.unexpected,
        ),
    ):
        if said != true:
            yield f"{what}: the verdict says {said}, the broker {true}"
    coming = missing & network.outstanding
    if coming:
        yield f"chunks {sorted(coming)} are called lost and still come"
    kinds = {fault.kind for fault in parse_plan(spec.faults).faults}
    if missing and not spec.unsafe_ack_early and "corrupt-result" not in kinds:
        yield f"chunks {sorted(missing)} are lost, and nothing in the plan loses any"
    # Who lost a connection without anybody's doing tells nobody; what it held may be anyone's.
    knowable = all(disturbance.kind != "cut-off" for disturbance in plan.disturbances)
    yield from _wrong_in_faults(verdict.faults, network, substrate, first_delivery_at, held=knowable)


def _wrong_in_faults(
    records: tuple[FaultRecord, ...],
    network: Network,
    substrate: SimulatedSubstrate,
    first_delivery_at: float,
    *,
    held: bool,
) -> Iterator[str]:
    if len({record.fault_id for record in records}) < len(records):
        yield "a fault is listed twice"
    left = list(substrate.acts)
    for record in records:
        if record.victim is None or record.method is None:
            continue
        what = f"fault {record.fault_id} ({record.kind} on {record.victim})"
        act = _act_of(record, left, first_delivery_at + record.at_seconds)
        if act is None:
            yield f"{what} never happened"
            continue
        left.remove(act)
        if not record.undone and record.note is None:
            yield f"{what} was not undone, without a word"
        # Who is only slowed goes on taking chunks.
        until = float("inf") if record.kind == "slow-worker" else act.at
        delivered = {c for c, worker_id, at in network.deliveries if worker_id == act.victim and at <= until}
        if held and not delivered.issuperset(record.chunks_held):
            strange = sorted(set(record.chunks_held) - delivered)
            yield f"{what}: it did not hold chunks {strange} before"
        worker = next((w for w in substrate.found if w.uid == record.uid), None)
        if worker is not None and worker.running and record.effect in ("process gone", "uid changed"):
            yield f"{what}: {record.effect}, but it is alive"


def _act_of(record: FaultRecord, acts: list[Act], at: float) -> Act | None:
    kind = ACTS.get(record.kind, record.kind)
    fitting = [act for act in acts if act.kind == kind and act.uid == record.uid]
    return min(fitting, key=lambda act: abs(act.at - at), default=None)
