"""What a seed makes of a run: its size, its parameters, and all that goes wrong with it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Literal

from simulation.substrate import Parameters
from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.domain.run import RunSpec

EndingKind = Literal["finish", "interrupt", "reader-gone", "kill"]
DisturbanceKind = Literal["broker-away", "broker-full", "plane-away", "disk-full", "cut-off"]
GarbageKind = Literal["task", "foreign-task", "result", "foreign-result", "wrong-values", "repeated-result"]

FAULTS: Final = (
    "kill-worker at=30%",
    "kill-worker at=60% count=2",
    "kill-worker every=1s times=3",
    "stop-worker at=40% duration=3s",
    "stop-worker at=20% duration=500ms",
    "slow-worker at=30% factor=3 duration=2s",
    "partition at=20% duration=4s",
    "kill-broker at=50% duration=1s",
    "restart-broker at=40%",
    "error-rate rate=20%",
    "duplicate count=2",
    "corrupt-result count=1",
    "poison count=1",
)
SKEWS: Final = (0.0, 0.0, 0.6, -0.6, 4.0, -4.0, 3600.0, -3600.0)


@dataclass(frozen=True)
class Ending:
    """How a command ends: at its event number ``event``, or killed after ``seconds``."""

    kind: EndingKind
    event: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Disturbance:
    """Seconds are from the beginning of the first command."""

    kind: DisturbanceKind
    at: float
    seconds: float


@dataclass(frozen=True)
class Garbage:
    kind: GarbageKind
    at: float


@dataclass
class Plan:
    """``endings`` has one for each command; each that is not the first resumes. ``replays``: dead letters are
    put back before a command resumes."""

    seed: int
    spec: RunSpec
    parameters: Parameters
    remote: bool
    closes_sockets: bool
    skews: tuple[float, ...]
    endings: list[Ending]
    replays: bool
    disturbances: list[Disturbance] = field(default_factory=list)
    garbage: list[Garbage] = field(default_factory=list)


def plan_of(seed: int) -> Plan:
    draw = random.Random(f"plan {seed}")
    chunks, size = draw.randint(1, 12), draw.randint(1, 4)
    total = max(1, chunks * size - draw.randrange(size))
    control = draw.random() < 0.05
    spec = RunSpec(
        run_id="r",
        backend="redis",
        substrate="local",
        parameters_total=total,
        chunk_size=size,
        workers=draw.randint(1, 3),
        seed=seed,
        delivery=DeliveryOptions(
            max_attempts=draw.randint(1, 3),
            retry_delay_seconds=draw.choice((0.05, 0.5)),
            lease_seconds=draw.choice((0.5, 2.0)),
            delivery_limit=draw.randint(1, 3),
        ),
        faults=tuple(draw.sample(FAULTS, draw.choice((0, 1, 1, 2, 3)))),
        unsafe_ack_early=control,
    )
    return Plan(
        seed=seed,
        spec=spec,
        parameters=_parameters(draw, total),
        remote=draw.random() < 0.5,
        closes_sockets=draw.random() < 0.5,
        skews=tuple(draw.choice(SKEWS) for _ in range(3)),
        endings=[*(_ending(draw) for _ in range(draw.choice((0, 0, 0, 1, 1, 2)))), Ending("finish")],
        replays=draw.random() < 0.5,
        disturbances=[_disturbance(draw) for _ in range(draw.choice((0, 0, 1, 1, 2)))],
        garbage=[_garbage(draw) for _ in range(draw.choice((0, 0, 0, 1, 2)))],
    )


def _parameters(draw: random.Random, total: int) -> Parameters:
    def some(chance: float) -> frozenset[int]:
        if draw.random() > chance:
            return frozenset()
        return frozenset(draw.sample(range(total), min(total, draw.randint(1, 2))))

    return Parameters(
        seconds=draw.choice((0.005, 0.05, 0.2)),
        bad=some(0.2),
        flaky=some(0.3),
        deadly=some(0.1),
        slow=some(0.2),
        slow_seconds=draw.choice((0.6, 4.0)),
    )


def _ending(draw: random.Random) -> Ending:
    kind = draw.choice(("interrupt", "reader-gone", "kill", "kill"))
    return Ending(kind, event=draw.randint(1, 40), seconds=draw.uniform(0.1, 8.0))


def _disturbance(draw: random.Random) -> Disturbance:
    kind = draw.choice(("broker-away", "broker-full", "plane-away", "plane-away", "disk-full", "cut-off"))
    return Disturbance(kind, at=draw.uniform(0.0, 4.0), seconds=draw.choice((0.3, 2.0, 8.0)))


def _garbage(draw: random.Random) -> Garbage:
    kinds: tuple[GarbageKind, ...] = (
        "task", "foreign-task", "result", "foreign-result", "wrong-values", "repeated-result"
    )  # fmt: skip
    return Garbage(draw.choice(kinds), at=draw.uniform(0.1, 3.0))
