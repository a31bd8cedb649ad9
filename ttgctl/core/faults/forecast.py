"""What a run's fault plan comes to, told without starting or hurting anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ttgctl.core.faults.chunk_faults import victim_words
from ttgctl.core.faults.powers import why_not
from ttgctl.core.ports import Substrate, SubstrateError, WorkerStatus
from ttgctl.domain.fault_schedule import Occurrence, by_number, occurrences, victim_order
from ttgctl.domain.faults import FaultSpec, parse_plan
from ttgctl.domain.run import RunSpec


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One time that a fault of the plan is due, or one fault of chunks.

    ``fault`` is its line. ``victims`` says who comes first, if all then hold a chunk. ``problem``
    says why it could not be injected on this substrate, None where it could.
    """

    fault: str
    when: str
    victims: str
    problem: str | None


def forecast(spec: RunSpec, substrate: Substrate, *, most: int = 5) -> list[Forecast]:
    """At most ``most`` times of each fault, in the plan's order; only asks the substrate."""
    plan = parse_plan(spec.faults)
    try:
        workers: Sequence[WorkerStatus] = substrate.workers(spec.run_id)
    # No cluster yet, say: then there are no workers yet either.
    except SubstrateError:
        workers = ()
    problems = {fault.kind: _problem(fault, substrate) for fault in plan.faults}
    told = []
    for index, fault in enumerate(plan.faults):
        if fault.timed:
            told += [
                _of_moment(occurrence, spec, workers, problems[fault.kind])
                for occurrence in islice(occurrences(fault, index=index, seed=spec.seed), most)
            ]
        else:
            victims = victim_words(fault, index=index, spec=spec)
            problem = None if victims else "the run has none of these chunks"
            told.append(
                Forecast(fault=str(fault), when="throughout", victims=victims or "none", problem=problem)
            )
    return told


def _problem(fault: FaultSpec, substrate: Substrate) -> str | None:
    try:
        return why_not(substrate, fault.kind) if fault.timed else None
    except SubstrateError as error:
        return f"not known yet: {error}"


def _of_moment(
    occurrence: Occurrence, spec: RunSpec, workers: Sequence[WorkerStatus], problem: str | None
) -> Forecast:
    at = occurrence.at_seconds
    when = f"{occurrence.at_percent:g} % progress" if at is None else f"{at:g} s"
    return Forecast(
        fault=str(occurrence.spec), when=when, victims=_victims(occurrence, spec, workers), problem=problem
    )


def _victims(occurrence: Occurrence, spec: RunSpec, workers: Sequence[WorkerStatus]) -> str:
    fault = occurrence.spec
    if fault.target == "broker":
        return "the broker"
    there = sorted((w.worker_id for w in workers), key=by_number)
    names = dict(enumerate(there or (f"worker {n}" for n in range(1, spec.workers + 1)), 1))
    order = [names[n] for n in victim_order(occurrence, names, seed=spec.seed)]
    wanted = min(len(order), fault.how_many(spec.workers))
    first, rest = ", ".join(order[:wanted]), ", ".join(order[wanted:])
    of_node = "the node of " if fault.target == "node" else ""
    return f"{of_node}{first}" + (f" (else {rest})" if rest else "")
