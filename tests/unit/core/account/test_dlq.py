"""Dead letters put back and dropped, with a command that dies between any two steps."""

from __future__ import annotations

import time
import uuid
from contextlib import closing

import pytest

from support.memory_broker import MemoryBroker
from ttg_worker.brokers.attempts import given_up
from ttg_worker.brokers.base import DeliveryOptions, Outcome, Recorded
from ttg_worker.wire import Chunk, DeadLetter, ParameterError
from ttgctl.core.account.dead_letters import (
    Entry,
    LetterFilter,
    discard_dropped,
    entries,
    settle_with_broker,
    want_back,
)
from ttgctl.core.account.ledger import DEAD, DROPPED, REPLAYED, REPLAYING, Ledger
from ttgctl.domain.run import RunSpec

SPEC = RunSpec(run_id="r", backend="memory", substrate="local", parameters_total=5, chunk_size=1)


class Scene:
    """A run whose chunks were given up, one letter each."""

    def __init__(self, tmp_path, chunks) -> None:
        self.path = tmp_path / "ledger.sqlite"
        self.broker = MemoryBroker(DeliveryOptions())
        self.broker.declare("r")
        consumer = self.broker.consumer("r", "w", prefetch=10)
        for _ in self.broker.publisher("r").publish([Chunk("r", c, c, c + 1) for c in chunks]):
            pass
        for delivery in consumer.take(most=10, wait_seconds=0):
            boom = [ParameterError((0,), "ValueError", "boom")]
            letter = given_up(delivery, boom, worker_id="w")
            consumer.settle(delivery, Outcome(letter=letter))
        with self.ledger() as ledger:
            for letter in self.broker.observer("r").dead_letters():
                if letter is None:
                    break
                ledger.record_dead_letter(letter)

    def ledger(self):
        return closing(Ledger(self.path, SPEC))

    def tasks(self) -> list[int]:
        consumer = self.broker.consumer("r", uuid.uuid4().hex, prefetch=10)
        return [delivery.chunk.chunk_id for delivery in consumer.take(most=10, wait_seconds=0)]


def states(ledger) -> dict[int, str]:
    return {entry.chunk_id: entry.state for entry in entries(ledger)}


def test_what_is_put_back_is_outstanding_and_a_task_with_its_history(tmp_path):
    scene = Scene(tmp_path, [0, 1])
    with scene.ledger() as ledger:
        assert ledger.accounted == 2
        assert want_back(ledger, entries(ledger)[:1]) == 1
        assert ledger.accounted == 1
        assert len(settle_with_broker(scene.broker, "r", ledger)) == 1
        assert states(ledger) == {0: REPLAYED, 1: DEAD}
        assert ledger.dead == {1}
    (delivery,) = scene.broker.consumer("r", "w2", prefetch=1).take(most=1, wait_seconds=0)
    assert delivery.chunk.chunk_id == 0
    assert delivery.chunk.retries == 0
    assert [failure.reason for failure in delivery.chunk.history] == ["failed: boom"]


def test_a_command_that_dies_before_the_broker_heard_of_it_leaves_it_to_the_next(tmp_path):
    scene = Scene(tmp_path, [0, 1])
    with scene.ledger() as ledger:
        want_back(ledger, entries(ledger))
    with scene.ledger() as ledger:
        assert (ledger.accounted, ledger.dead) == (0, set())
        assert len(settle_with_broker(scene.broker, "r", ledger)) == 2
    assert scene.tasks() == [0, 1]


def test_a_command_that_dies_before_the_ledger_heard_of_it_repeats_and_loses_nothing(tmp_path, monkeypatch):
    scene = Scene(tmp_path, [0, 1, 2])
    replay = scene.broker.replay
    calls = []

    def dying(run_id, letter):
        replay(run_id, letter)
        calls.append(letter)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(scene.broker, "replay", dying)
    with scene.ledger() as ledger:
        want_back(ledger, entries(ledger))
        with pytest.raises(KeyboardInterrupt):
            settle_with_broker(scene.broker, "r", ledger)
    monkeypatch.undo()
    with scene.ledger() as ledger:
        assert set(states(ledger).values()) == {REPLAYING}
        assert ledger.accounted == 0
        settle_with_broker(scene.broker, "r", ledger)
        assert set(states(ledger).values()) == {REPLAYED}
        assert settle_with_broker(scene.broker, "r", ledger) == []
    assert sorted(scene.tasks()) == [0, 1, 2]


def test_a_chunk_with_two_letters_goes_back_once(tmp_path):
    scene = Scene(tmp_path, [0, 0])
    with scene.ledger() as ledger:
        assert want_back(ledger, entries(ledger)) == 1
        assert len(settle_with_broker(scene.broker, "r", ledger)) == 1
        assert [entry.state for entry in entries(ledger)] == [REPLAYED, REPLAYED]
    assert scene.tasks() == [0]
    assert scene.broker.counts("r").dead == 0


def test_a_dropped_one_stays_given_up_and_never_comes_back(tmp_path):
    scene = Scene(tmp_path, [0, 1])
    with scene.ledger() as ledger:
        ledger.settle_dead_letters([entries(ledger)[0].letter.position], DROPPED)
        discard_dropped(scene.broker, "r", ledger)
        assert ledger.dead == {0, 1}
        assert ledger.totals.open_dead_letters == 1
        assert want_back(ledger, entries(ledger)) == 1
        settle_with_broker(scene.broker, "r", ledger)
    assert scene.tasks() == [1]
    assert scene.broker.counts("r").dead == 0


def test_settling_many_keeps_results_that_were_not_committed(tmp_path):
    from ttg_worker import wire

    values = b"[1]"
    with closing(Ledger(tmp_path / "l.sqlite", SPEC)) as ledger:
        result = wire.ChunkResult("r", 3, "w", 1, 0, 1.0, 2.0, wire.digest(values), wire.msgspec.Raw(values))
        ledger.record_result(Recorded(0, result))
        ledger.settle_dead_letters([], REPLAYED)
        assert ledger.totals.ok == 1


def entry(number, *, cause="failed", chunk_id=None, at=0.0, state=DEAD, has_result=False) -> Entry:
    chunk = None if chunk_id is None else Chunk("r", chunk_id, chunk_id, chunk_id + 1)
    letter = DeadLetter("r", cause, "why", 1, "w", at, chunk)
    return Entry(number, Recorded(number, letter), state, has_result)


class TestChoice:
    ALL = (
        entry(1, chunk_id=4, at=10.0),
        entry(2, cause="malformed", at=20.0),
        entry(3, cause="delivery-limit", chunk_id=2, at=30.0),
    )

    @pytest.mark.parametrize(
        ("choice", "numbers"),
        [
            (LetterFilter(), [1, 2, 3]),
            (LetterFilter(numbers=[3, 1]), [1, 3]),
            (LetterFilter(chunks=[2]), [3]),
            (LetterFilter(causes=["malformed"]), [2]),
            (LetterFilter(older_than_seconds=15), [1, 2]),
            (LetterFilter(chunks=[4], causes=["malformed"]), []),
        ],
    )
    def test_takes_what_fits_all_of_it(self, choice, numbers):
        assert [e.number for e in choice.of(self.ALL, now=35.0)] == numbers

    @pytest.mark.parametrize("choice", [LetterFilter(numbers=[4]), LetterFilter(chunks=[4, 7])])
    def test_says_what_is_not_there(self, choice):
        with pytest.raises(LookupError, match=r"[47]$"):
            choice.of(self.ALL, now=time.time())

    def test_only_what_gains_something_is_put_back(self):
        assert entry(1, chunk_id=4).replayable
        assert not entry(1).replayable
        assert not entry(1, chunk_id=4, has_result=True).replayable
        assert not entry(1, chunk_id=4, state=DROPPED).replayable
