"""What ``--dry-run`` tells of a plan."""

from __future__ import annotations

from typing import Any

from ttgctl.core.faults.forecast import forecast
from ttgctl.core.ports import SubstrateError, WorkerStatus
from ttgctl.domain.run import RunSpec


class Asked:
    """Answers questions and has every power; it is an error to use one."""

    name = "asked"

    def _act(self, *arguments: object) -> None:
        raise AssertionError("a forecast only asks")

    kill = pause = resume = isolate = rejoin = kill_broker = stop_node = start_node = _act

    def __init__(self, *names: str, unable: dict[str, str] | None = None) -> None:
        self._names = names
        self._unable = unable or {}

    def workers(self, run_id: str) -> list[WorkerStatus]:
        return [WorkerStatus(worker_id=name, uid=name, running=True) for name in self._names]

    def why_not(self, kind: str) -> str | None:
        return self._unable.get(kind)


class Absent:
    def workers(self, run_id: str) -> list[WorkerStatus]:
        raise SubstrateError("there is no cluster")

    def why_not(self, kind: str) -> str | None:
        raise SubstrateError("there is no cluster")


def run(*faults: str, seed: int = 1) -> RunSpec:
    return RunSpec(
        run_id="one",
        backend="redis",
        substrate="local",
        parameters_total=100,
        chunk_size=10,
        seed=seed,
        faults=faults,
    )


def told(spec: RunSpec, substrate: Any) -> list[tuple[str, str, str | None]]:
    return [(row.when, row.victims, row.problem) for row in forecast(spec, substrate, most=3)]


def test_times_and_victims_of_a_run_that_is_to_come() -> None:
    spec = run("kill-worker at=30%", "restart-broker every=10s", "poison chunks=3,99", "error-rate rate=5%")
    rows = told(spec, Asked())
    assert rows[0][0] == "30 % progress"
    assert sorted(rows[0][1].replace("(else", ",").replace(")", "").replace(",", " ").split()) == sorted(
        ["worker", "1", "worker", "2", "worker", "3"]
    )
    assert rows[1:] == [
        ("10 s", "the broker", None),
        ("20 s", "the broker", None),
        ("30 s", "the broker", None),
        ("throughout", "chunk 3", None),
        ("throughout", "5% of all attempts", None),
    ]


def test_victims_of_a_run_that_is_there_have_their_names() -> None:
    ((_, victims, _),) = told(run("kill-worker count=2"), Asked("w-a", "w-b", "w-c"))
    assert victims.count("w-") == 3
    first, rest = victims.split(" (else ")
    assert first.count("w-") == 2
    assert rest.endswith(")")


def test_what_cannot_be_injected_is_told_beforehand() -> None:
    (row,) = told(run("partition"), Asked(unable={"partition": "partition: not here"}))
    assert row[2] == "partition: not here"
    (row,) = told(run("partition"), Absent())
    assert row[2] == "not known yet: there is no cluster"
    (row,) = told(run("poison chunks=10"), Asked())
    assert row == ("throughout", "none", "the run has none of these chunks")


def test_the_same_seed_tells_the_same() -> None:
    spec = run("kill-worker every=5s jitter=3s", "corrupt-result count=2")
    assert told(spec, Asked()) == told(spec, Asked())
    assert told(spec, Asked()) != told(run(*spec.faults, seed=2), Asked())
