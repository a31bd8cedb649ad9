"""The verdict read again from a broker in memory: one that holds all, less, or other than the ledger."""

from __future__ import annotations

import time
import uuid
from contextlib import closing

import msgspec
import pytest

from support.memory_broker import MemoryBroker
from ttg_worker.brokers.base import DeliveryOptions, Outcome, Recorded
from ttg_worker.compute.synthetic import synthetic_value
from ttg_worker.wire import Chunk, ChunkResult, DeadLetter, digest
from ttgctl.core.account import verification
from ttgctl.core.account.judgement import judge
from ttgctl.core.account.ledger import DROPPED, Ledger
from ttgctl.core.account.verification import verify_run
from ttgctl.core.ports import BrokerEndpoint
from ttgctl.core.records.event_log import EventLog
from ttgctl.core.records.run_folder import RunFolder
from ttgctl.domain.events import Finished
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ExitCode

SPEC = RunSpec(run_id="r", backend="memory", substrate="local", parameters_total=6, chunk_size=1)


class Scene:
    """A run that ended: its ledger has results of some chunks, and dead letters of others."""

    name = "local"

    def __init__(self, tmp_path, *, ok: range, dead: range = range(0)) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.broker = MemoryBroker.at(self.url, options=DeliveryOptions())
        self.folder = RunFolder(tmp_path / "r")
        self.folder.write_spec(SPEC)
        self.broker.declare("r")
        with self.ledger() as ledger:
            for position, chunk_id in enumerate(ok):
                ledger.record_result(Recorded(position, result(chunk_id)))
            for position, chunk_id in enumerate(dead):
                ledger.record_dead_letter(Recorded(position, letter(chunk_id)))
            ledger.record_published(attempted=6, acknowledged=6)
            verdict = judge(ledger, SPEC, queues=self.broker.counts("r"))
        with EventLog(self.folder.events) as log:
            log.append(Finished(at=1.0, verdict=verdict))

    def ledger(self):
        return closing(Ledger(self.folder.ledger, SPEC))

    def hold(self, *, results: range = range(0), dead: range = range(0)) -> None:
        """What the broker holds, as workers put it there."""
        chunks = [Chunk("r", c, c, c + 1) for c in (*results, *dead)]
        list(self.broker.publisher("r").publish(chunks))
        consumer = self.broker.consumer("r", "w", prefetch=len(chunks))
        for delivery in consumer.take(most=len(chunks), wait_seconds=0):
            if delivery.chunk.chunk_id in results:
                consumer.settle(delivery, Outcome(results=(result(delivery.chunk.chunk_id),)))
            else:
                consumer.settle(delivery, Outcome(letter=letter(delivery.chunk.chunk_id)))

    def verify(self):
        return verify_run(SPEC, self.folder, substrate=self, said=lambda line: None)

    def owned(self, run_id):
        return ["the broker"]

    def broker_uid(self, spec) -> str:
        return "1"

    def start_broker(self, spec, say) -> BrokerEndpoint:
        return BrokerEndpoint(host_url=self.url, worker_url=self.url)


def result(chunk_id: int) -> ChunkResult:
    values = b"[%d]" % synthetic_value(0, chunk_id)
    return ChunkResult("r", chunk_id, "w", 1, 0, 10.0, 11.0, digest(values), msgspec.Raw(values))


def letter(chunk_id: int) -> DeadLetter:
    return DeadLetter("r", "failed", "no", 3, "w", 1.0, Chunk("r", chunk_id, chunk_id, chunk_id + 1))


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(verification, "QUIET_SECONDS", 0.2)


def test_a_broker_that_holds_all_is_agreed_with_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "QUIET_SECONDS", 3600.0)
    scene = Scene(tmp_path, ok=range(6))
    scene.hold(results=range(6))
    verdict = scene.verify()
    assert verdict.lossless
    assert verdict.notes[-1] == "the ledger agrees with the broker"


def test_a_broker_that_lost_results_is_read_to_its_end_and_told_of(tmp_path):
    scene = Scene(tmp_path, ok=range(6))
    scene.hold(results=range(2))
    started = time.monotonic()
    verdict = scene.verify()
    assert time.monotonic() - started < 20
    assert verdict.notes[-1] == ("the ledger DOES NOT agree with the broker, which holds 2 of its 6 results")
    assert (verdict.exit_code, verdict.lost_chunks) == (ExitCode.LOSS, (2, 3, 4, 5))
    with scene.ledger() as ledger:
        assert ledger.totals.ok == 6


def test_a_broker_that_lost_dead_letters_is_read_to_its_end_and_told_of(tmp_path):
    scene = Scene(tmp_path, ok=range(3), dead=range(3, 6))
    scene.hold(results=range(3), dead=range(3, 4))
    assert scene.verify().notes[-1] == (
        "the ledger DOES NOT agree with the broker, which holds 1 of its 3 dead letters"
    )


def test_queues_made_anew_are_told_of(tmp_path):
    scene = Scene(tmp_path, ok=range(3), dead=range(3, 6))
    assert scene.verify().notes[-1] == (
        "the ledger DOES NOT agree with the broker, "
        "which holds 0 of its 3 results and 0 of its 3 dead letters"
    )


def test_dead_letters_that_were_dropped_are_not_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "QUIET_SECONDS", 3600.0)
    scene = Scene(tmp_path, ok=range(5), dead=range(5, 6))
    scene.hold(results=range(5))
    with scene.ledger() as ledger:
        ledger.settle_dead_letters([0], DROPPED)
    assert scene.verify().notes[-1] == "the ledger agrees with the broker"


def test_a_ledger_behind_the_broker_is_no_contradiction(tmp_path):
    scene = Scene(tmp_path, ok=range(2))
    scene.hold(results=range(6))
    verdict = scene.verify()
    assert verdict.lossless
    assert verdict.notes[-1] == "the ledger has 2 of these results so far"
