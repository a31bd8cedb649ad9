"""A run made up for the views: 100 chunks, a worker killed in the middle, a verdict."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from ttg_worker.brokers.base import QueueCounts
from ttgctl.domain.events import Fault, Finished, Notice, Phase, Progress, RunEvent, Started
from ttgctl.domain.run import RunSpec
from ttgctl.domain.snapshot import Snapshot, WorkerRow
from ttgctl.domain.verdict import ChunkAccount, FaultRecord, ParameterAccount, Recovery, Verdict


class Story:
    """Builders of events and verdicts with values that tell which place they came from."""

    started_at = 1_700_000_000.0
    first_delivery_at = started_at + 4.0

    def spec(self, **changes: Any) -> RunSpec:
        spec = RunSpec(
            run_id="demo-3f9a2c",
            backend="rabbitmq",
            substrate="kind",
            parameters_total=1000,
            chunk_size=10,
            created_at=self.started_at,
        )
        return replace(spec, **changes)

    def workers(self, number: int, **changes: Any) -> tuple[WorkerRow, ...]:
        row = WorkerRow(
            worker_id="",
            state="busy",
            chunk_id=31,
            done=7,
            failed=0,
            chunks_per_second=2.5,
            last_seen_seconds=0.2,
            node="ttg-sandbox-worker",
        )
        return tuple(replace(row, worker_id=f"w-{index:02d}", **changes) for index in range(number))

    def snapshot(self, *, accounted: int = 40, workers: int = 3, **changes: Any) -> Snapshot:
        snapshot = Snapshot(
            run_id="demo-3f9a2c",
            backend="rabbitmq",
            substrate="kind",
            elapsed_seconds=accounted / 10,
            parameters_total=1000,
            parameters_done=accounted * 10,
            chunks_total=100,
            published=100,
            accounted=accounted,
            dead_lettered=0,
            retried=0,
            redelivered=1,
            duplicated=2,
            conflicting=0,
            chunks_per_second=10.0,
            parameters_per_second=100.0,
            eta_seconds=(100 - accounted) / 10,
            queues=QueueCounts(tasks=97 - accounted, in_flight=3, retry=0, dead=0, results=accounted),
            broker_state="up",
            workers=self.workers(workers),
        )
        return replace(snapshot, **changes)

    def progress(self, snapshot: Snapshot) -> Progress:
        return Progress(at=self.first_delivery_at + snapshot.elapsed_seconds, snapshot=snapshot)

    def fault(self, **changes: Any) -> FaultRecord:
        record = FaultRecord(
            fault_id=0,
            kind="kill-worker",
            victim="w-01",
            at_seconds=4.2,
            uid="0b1c",
            node="ttg-sandbox-worker2",
            method="SIGKILL",
            chunks_held=(31,),
            effect="uid changed",
            redelivered_seconds=0.4,
            replaced_seconds=1.1,
        )
        return replace(record, **changes)

    def account(self, **changes: int) -> ChunkAccount:
        account = ChunkAccount(
            attempted=100,
            acknowledged=100,
            ok=100,
            lost=0,
            duplicated=2,
            recovered=1,
            conflicting=0,
            unexpected=0,
            retried=0,
            dead_lettered=0,
        )
        return replace(account, **changes)

    def verdict(self, **changes: Any) -> Verdict:
        verdict = Verdict(
            run_id="demo-3f9a2c",
            backend="rabbitmq",
            substrate="kind",
            lossless=True,
            complete=True,
            chunks=self.account(),
            lost_chunks=(),
            dead_lettered_chunks=(),
            conflicting_chunks=(),
            dead_letter_causes={},
            parameters=ParameterAccount(total=1000, ok=1000, failed=0, lost=0),
            seconds=34.9123,
            parameters_per_second=28.7,
            queues_after={"ttg.tasks": 0, "ttg.results": 100, "ttg.tasks.retry": 0, "ttg.tasks.dlq": 0},
            faults=(self.fault(),),
            recovery=Recovery(p50_seconds=0.4, p99_seconds=0.4, max_seconds=0.4),
            checksum="ab",
            checksum_expected="ab",
        )
        return replace(verdict, **changes)

    def events(self, *, workers: int = 3) -> Iterator[RunEvent]:
        at = self.started_at
        yield Started(at=at, spec=self.spec(workers=workers), resumed=False)
        yield Phase(at=at, name="broker", detail="RabbitMQ 4.1")
        yield Phase(at=at + 2.5, name="broker", detail="RabbitMQ 4.1", seconds=2.5)
        yield Phase(at=at + 2.5, name="workers", detail="3 running")
        yield Phase(at=at + 4.0, name="workers", detail="3 running", seconds=1.5)
        for quarter in range(0, 41):
            accounted = quarter * 100 // 40
            yield self.progress(
                self.snapshot(accounted=accounted, workers=workers, elapsed_seconds=quarter / 4)
            )
            at = self.first_delivery_at + quarter / 4
            if quarter == 17:
                yield Fault(
                    at=at,
                    record=self.fault(effect=None, redelivered_seconds=None, replaced_seconds=None),
                )
                yield Notice(at=at, level="warning", message="worker w-01 is gone")
            if quarter == 22:
                yield Fault(at=at, record=self.fault())
                yield Notice(at=at, level="info", message="worker w-77 replaced it")
        yield Finished(at=at, verdict=self.verdict())


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def drawn() -> Any:
    """Renders for a terminal without colour; the lines without trailing blanks."""

    def draw(renderable: RenderableType, *, width: int, height: int = 200) -> list[str]:
        stream = io.StringIO()
        console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None)
        console.print(renderable)
        return [line.rstrip() for line in stream.getvalue().splitlines()]

    return draw
