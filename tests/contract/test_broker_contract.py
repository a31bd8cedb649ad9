"""What every broker must do, whatever it is made of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from support.consuming import complete, dead_letter, deliveries, retry
from ttg_worker.brokers.attempts import given_up, retried
from ttg_worker.brokers.base import SUSPECT_DEATHS, Outcome, Recorded
from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttg_worker.wire import (
    Chunk,
    ChunkResult,
    DeadLetter,
    Heartbeat,
    ParameterError,
    digest,
    encode,
    printable,
)

# The longest that anything here may take on a busy machine; nothing waits for it when all is well.
SOON_SECONDS = 15.0
# As long as it takes to say that something does not come.
A_WHILE_SECONDS = 0.35


def chunks(run_id: str, count: int, *, first: int = 0) -> list[Chunk]:
    return [Chunk(run_id, i, i * 10, i * 10 + 10) for i in range(first, first + count)]


def publish(broker, run_id: str, count: int, *, first: int = 0) -> None:
    publisher = broker.publisher(run_id)
    assert list(publisher.publish(chunks(run_id, count, first=first)))[-1] == count
    publisher.close()


def take(consumer, count: int = 1, *, within_seconds: float = SOON_SECONDS) -> list:
    deadline = time.monotonic() + within_seconds
    taken = []
    for delivery in deliveries(consumer):
        if delivery is not None:
            taken.append(delivery)
        if len(taken) == count or time.monotonic() > deadline:
            break
    assert len(taken) == count, f"{len(taken)} of {count} chunks within {within_seconds} s"
    return taken


def takes_no_more(consumer) -> bool:
    """Nothing that is not suspect is handed over to it, while it prefetches what there is."""
    return not any(consumer.take(most=1, wait_seconds=0.1) for _ in range(5))


def takes_nothing(consumer, *, for_seconds: float = A_WHILE_SECONDS) -> bool:
    deadline = time.monotonic() + for_seconds
    for delivery in deliveries(consumer):
        if delivery is not None:
            return False
        if time.monotonic() > deadline:
            return True
    raise AssertionError("the consumer ended")


def suspect_of(consumer):
    """A chunk whose workers died again and again; such come by no other way."""
    found: list = []

    def is_there() -> bool:
        assert consumer.take(most=1, wait_seconds=0.05) == []
        suspect = consumer.take_suspect()
        found.extend([suspect] if suspect is not None else [])
        return bool(found)

    until(is_there)
    return found[0]


def result_of(delivery, worker_id: str = "w0", values: bytes = b"[1,2]") -> ChunkResult:
    now = time.time()
    return ChunkResult(
        run_id=delivery.chunk.run_id,
        chunk_id=delivery.chunk.chunk_id,
        worker_id=worker_id,
        attempt=delivery.attempt,
        redelivered=delivery.redelivered,
        started_at=now,
        finished_at=now,
        digest=digest(values),
        values=msgspec.Raw(values),
    )


def drain(consumer, count: int, *, within_seconds: float = SOON_SECONDS) -> list:
    """Takes and completes distinct chunks until there are ``count`` of them."""
    deadline = time.monotonic() + within_seconds
    done = {}
    for delivery in deliveries(consumer):
        if delivery is not None:
            complete(consumer, delivery, result_of(delivery))
            done[delivery.chunk.chunk_id] = delivery
        if len(done) == count or time.monotonic() > deadline:
            break
    assert len(done) == count, f"{len(done)} of {count} chunks within {within_seconds} s"
    assert consumer.flush(timeout_seconds=SOON_SECONDS)
    return list(done.values())


def read(messages, count: int, *, within_seconds: float = SOON_SECONDS) -> list[Recorded]:
    deadline = time.monotonic() + within_seconds
    seen = []
    for message in messages:
        if message is not None:
            seen.append(message)
        if len(seen) == count or time.monotonic() > deadline:
            break
        if message is None:
            time.sleep(0.005)
    assert len(seen) == count, f"{len(seen)} of {count} messages within {within_seconds} s: {seen}"
    return seen


def read_all(messages, *, quiet_seconds: float = A_WHILE_SECONDS) -> list[Recorded]:
    """All that is there, until there is nothing more for a while."""
    seen, since = [], time.monotonic()
    for message in messages:
        if message is not None:
            seen.append(message)
            since = time.monotonic()
        elif time.monotonic() - since > quiet_seconds:
            return seen
        else:
            time.sleep(0.005)
    raise AssertionError("the observer ended")


def until(condition, *, within_seconds: float = SOON_SECONDS) -> None:
    deadline = time.monotonic() + within_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_seconds} s"
        time.sleep(0.01)


def ids(recorded: list[Recorded]) -> list[int]:
    return [each.message.chunk_id for each in recorded]


class TestTheStraightWay:
    def test_declare_twice_keeps_what_is_there(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 3)
        broker.declare(stage.run_id)
        stage.broker()
        assert len(drain(stage.consumer(), 3)) == 3

    def test_publish_confirms_in_growing_counts(self, stage):
        publisher = stage.broker().publisher(stage.run_id)
        confirmed = list(publisher.publish(iter(chunks(stage.run_id, 1200))))
        publisher.close()
        assert confirmed[-1] == 1200
        assert confirmed == sorted(set(confirmed))

    def test_chunks_come_in_order_and_whole(self, stage):
        broker = stage.broker()
        sent = [
            Chunk(stage.run_id, i, i, i + 1, parameters=msgspec.Raw(b'[{"x":%d,"s":"\xc3\xa4\\n"}]' % i))
            for i in range(5)
        ]
        assert list(broker.publisher(stage.run_id).publish(sent))[-1] == 5
        taken = drain(stage.consumer(prefetch=5), 5)
        assert [encode(each.chunk) for each in taken] == [encode(each) for each in sent]
        assert {(each.attempt, each.redelivered) for each in taken} == {(1, 0)}

    def test_a_result_is_seen_as_it_was_sent(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        result = result_of(delivery, values=b'[0.1,null,"x"]')
        complete(consumer, delivery, result)
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        (seen,) = read(broker.observer(stage.run_id).results(), 1)
        assert encode(seen.message) == encode(result)

    def test_a_result_is_seen_while_its_worker_computes_the_next(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 3)
        consumer = stage.consumer(prefetch=2)
        results = broker.observer(stage.run_id).results()
        (first,) = take(consumer)
        complete(consumer, first, result_of(first))
        take(consumer)
        # No more word from this thread: it is computing.
        assert ids(read(results, 1, within_seconds=5)) == [0]

    def test_an_idle_consumer_waits_as_long_as_it_is_told(self, stage):
        stage.broker()
        consumer = stage.consumer()
        consumer.take(most=1, wait_seconds=0.1)
        started = time.monotonic()
        assert [consumer.take(most=5, wait_seconds=0) for _ in range(3)] == [[]] * 3
        assert [consumer.take(most=5, wait_seconds=0.2) for _ in range(2)] == [[]] * 2
        assert time.monotonic() - started < 5

    def test_several_are_taken_at_once_and_no_more_than_asked(self, stage):
        publish(stage.broker(), stage.run_id, 9)
        consumer = stage.consumer(prefetch=9)
        taken: list = []

        def all_are() -> bool:
            some = consumer.take(most=4, wait_seconds=1.0)
            assert len(some) <= 4
            taken.extend(some)
            return len(taken) == 9

        until(all_are)
        assert [each.chunk.chunk_id for each in taken] == list(range(9))

    def test_two_runs_do_not_see_each_other(self, stage):
        broker = stage.broker()
        other = stage.new_run_id()
        broker.declare(other)
        publish(broker, stage.run_id, 2)
        publish(broker, other, 3, first=100)
        assert {each.chunk.chunk_id for each in drain(stage.consumer(), 2)} == {0, 1}
        broker.drop(stage.run_id)
        assert not broker.exists(stage.run_id)
        assert broker.exists(other)
        mine, stage.run_id = stage.run_id, other
        assert {each.chunk.chunk_id for each in drain(stage.consumer(), 3)} == {100, 101, 102}
        assert set(ids(read(broker.observer(other).results(), 3))) == {100, 101, 102}
        stage.run_id = mine

    def test_exists_and_drop(self, stage):
        broker = stage.broker(declare=False)
        run_id = stage.new_run_id()
        assert not broker.exists(run_id)
        broker.drop(run_id)
        broker.declare(run_id)
        assert broker.exists(run_id)
        broker.drop(run_id)
        assert not broker.exists(run_id)

    def test_a_broker_that_takes_messages_is_in_no_trouble_and_nothing_is_left_of_the_question(self, stage):
        broker = stage.broker()
        assert broker.trouble(stage.run_id) is None
        counts = broker.counts(stage.run_id)
        assert (counts.tasks, counts.results or 0, counts.dead or 0) == (0, 0, 0)

    def test_counts_at_each_stage(self, stage):
        broker = stage.broker()

        def counts_are(tasks, in_flight, retry, dead, results) -> bool:
            counts = broker.counts(stage.run_id)
            wanted = {"in_flight": in_flight, "dead": dead, "results": results}
            told = {name: value for name, value in wanted.items() if getattr(counts, name) is not None}
            assert stage.name == "rabbitmq" or told == wanted or len(told) == 3
            return (counts.tasks, counts.retry) == (tasks, retry) and all(
                getattr(counts, name) == value for name, value in told.items()
            )

        until(lambda: counts_are(0, 0, 0, 0, 0))
        publish(broker, stage.run_id, 5)
        until(lambda: counts_are(5, 0, 0, 0, 0))
        consumer = stage.consumer(prefetch=3)
        first, second, third = take(consumer, 3)
        until(lambda: counts_are(2, 3, 0, 0, 0))
        consumer.resize(1)
        complete(consumer, first, result_of(first))
        dead_letter(consumer, second, reason="no good")
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        until(lambda: counts_are(2, 1, 0, 1, 1))
        retry(consumer, third, reason="again")
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        until(lambda: counts_are(2, 0, 1, 1, 1) or counts_are(3, 0, 0, 1, 1))


class TestObservers:
    def test_two_observers_see_the_same(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 20)
        drain(stage.consumer(prefetch=5), 20)
        first = read(broker.observer(stage.run_id).results(), 20)
        second = read(stage.broker().observer(stage.run_id).results(), 20)
        assert [(r.position, encode(r.message)) for r in first] == [
            (r.position, encode(r.message)) for r in second
        ]
        assert sorted(ids(first)) == list(range(20))

    def test_positions_grow_and_reading_goes_on_after_one(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 30)
        drain(stage.consumer(prefetch=10), 30)
        observer = broker.observer(stage.run_id)
        seen = read(observer.results(), 30)
        positions = [each.position for each in seen]
        assert positions == sorted(set(positions))
        assert min(positions) >= 0
        rest = read_all(observer.results(after=positions[11]))
        assert [each.position for each in rest] == positions[12:]
        assert read_all(observer.results(after=positions[-1])) == []
        observer.close()

    def test_results_are_followed_as_they_come(self, stage):
        broker = stage.broker()
        results = broker.observer(stage.run_id).results()
        assert next(results) is None
        consumer = stage.consumer()
        for i in range(3):
            publish(broker, stage.run_id, 1, first=i)
            drain(consumer, 1)
            assert ids(read(results, 1)) == [i]
        assert read_all(results) == []

    def test_beats_of_all_workers_reach_a_late_observer(self, stage):
        broker = stage.broker()
        consumers = {name: stage.consumer(name) for name in ("w0", "w1", "w2")}

        def heartbeats(done: int) -> None:
            for name, consumer in consumers.items():
                consumer.heartbeat(
                    Heartbeat(stage.run_id, name, "busy", 7, (7, 8), done, 0, started_at=1.0, at=time.time())
                )

        heartbeats(1)
        observer = broker.observer(stage.run_id)
        sent = 1

        def all_heard() -> bool:
            nonlocal sent
            sent += 1
            heartbeats(sent)  # as a worker does, again and again
            time.sleep(0.1)
            return {heartbeat.worker_id for heartbeat in observer.heartbeats()} == {"w0", "w1", "w2"}

        until(all_heard)
        sent += 1
        heartbeats(sent)
        until(lambda: [heartbeat.done for heartbeat in observer.heartbeats()] == [sent] * 3)
        assert {heartbeat.held for heartbeat in observer.heartbeats()} == {(7, 8)}
        observer.close()


class TestRetriesAndDeadLetters:
    def test_a_retry_comes_back_after_its_delay_with_its_history(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        asked_at = time.monotonic()
        retry(consumer, delivery, reason="ZeroDivisionError: x")
        (again,) = take(consumer)
        waited = time.monotonic() - asked_at
        assert stage.options.retry_delay_seconds * 0.9 <= waited < 5
        assert (again.chunk.retries, again.attempt, again.redelivered) == (1, 2, 0)
        (failure,) = again.chunk.history
        assert (failure.attempt, failure.worker_id, failure.reason) == (1, "w0", "ZeroDivisionError: x")
        assert abs(failure.at - time.time()) < 60
        retry(consumer, again, reason="second")
        (third,) = take(consumer)
        assert (third.chunk.retries, third.attempt) == (2, 3)
        assert [f.reason for f in third.chunk.history] == ["ZeroDivisionError: x", "second"]
        complete(consumer, third, result_of(third))
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        assert consumer.held() == ()
        (seen,) = read(broker.observer(stage.run_id).results(), 1)
        assert seen.message.attempt == 3

    def test_of_a_part_that_failed_that_part_alone_is_tried_again_and_given_up(self, stage):
        broker = stage.broker()
        sent = Chunk(stage.run_id, 0, 0, 4, parameters=msgspec.Raw(b'["a","b","c","d"]'))
        assert list(broker.publisher(stage.run_id).publish([sent]))[-1] == 1
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        failed = [ParameterError((1, 3), "ValueError", "ValueError: no")]
        some = msgspec.structs.replace(result_of(delivery, values=b"[0,2]"), offsets=(0, 2))
        again = retried(delivery, failed, worker_id="w0")
        consumer.settle(delivery, Outcome(results=(some,), retry=again))
        (second,) = take(consumer)
        assert (second.attempt, second.chunk.offsets, second.chunk.size) == (2, (1, 3), 2)
        assert bytes(second.chunk.parameters) == b'["b","d"]'
        last = [ParameterError((3,), "SIGSEGV", "died by SIGSEGV")]
        more = msgspec.structs.replace(result_of(second, values=b"[1]"), offsets=(1,))
        letter = given_up(second, last, worker_id="w0")
        consumer.settle(second, Outcome(results=(more,), letter=letter))
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        assert consumer.held() == ()
        observer = broker.observer(stage.run_id)
        results = [each.message for each in read_all(observer.results())]
        assert [(each.offsets, bytes(each.values)) for each in results] == [
            ((0, 2), b"[0,2]"),
            ((1,), b"[1]"),
        ]
        (dead,) = read_all(observer.dead_letters())
        assert (dead.message.cause, dead.message.detail) == ("failed", "died by SIGSEGV")
        assert dead.message.errors == tuple(last)
        assert (dead.message.chunk.offsets, bytes(dead.message.chunk.parameters)) == ((3,), b'["d"]')
        until(lambda: broker.counts(stage.run_id).tasks == broker.counts(stage.run_id).retry == 0)

    def test_an_outcome_of_several_results_is_all_there_before_the_chunk_is_done(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        parts = tuple(
            msgspec.structs.replace(result_of(delivery, values=b"[%d]" % n), offsets=(n,)) for n in range(10)
        )
        consumer.settle(delivery, Outcome(results=parts))
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        results = [each.message.offsets for each in read_all(broker.observer(stage.run_id).results())]
        assert results == [(n,) for n in range(10)]
        until(lambda: broker.counts(stage.run_id).tasks == 0)
        assert consumer.held() == ()

    def test_a_retry_comes_back_while_all_workers_compute(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 2)
        consumer = stage.consumer()
        (first,) = take(consumer)
        retry(consumer, first, reason="again")
        take(consumer)  # and computes on, without another word
        until(lambda: broker.counts(stage.run_id).tasks == 1)

    def test_a_dead_letter_keeps_chunk_and_reason(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 2)
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        dead_letter(consumer, delivery, reason="Traceback: boom")
        drain(consumer, 1)
        (letter,) = read(broker.observer(stage.run_id).dead_letters(), 1)
        dead = letter.message
        assert (dead.cause, dead.detail, dead.attempt, dead.worker_id) == (
            "failed",
            "Traceback: boom",
            1,
            "w0",
        )
        assert dead.run_id == stage.run_id
        assert encode(dead.chunk) == encode(delivery.chunk)
        assert consumer.held() == ()

    def test_what_is_no_chunk_goes_to_the_dlq(self, stage):
        mine = f'{{"run_id":"{stage.run_id}","chunk_id":1,'.encode()
        bodies = {
            b"\x00\xff not json": "malformed",
            b"": "malformed",
            mine + b'"start":0,"stop":1,"priority":0}': "malformed",
            mine + b'"start":5,"stop":5}': "malformed",
            b'{"run_id":"another","chunk_id":1,"start":0,"stop":1}': "foreign-run",
        }
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        for body in bodies:
            stage.put_raw(body)
        publish(broker, stage.run_id, 1, first=1)
        consumer = stage.consumer(prefetch=2)
        assert {each.chunk.chunk_id for each in drain(consumer, 2)} == {0, 1}
        assert consumer.held() == ()
        letters = [each.message for each in read(broker.observer(stage.run_id).dead_letters(), len(bodies))]
        assert {letter.body: letter.cause for letter in letters} == {
            printable(body): cause for body, cause in bodies.items()
        }
        assert {letter.chunk for letter in letters} == {None}
        assert all(letter.detail for letter in letters)
        assert sorted(ids(read_all(broker.observer(stage.run_id).results()))) == [0, 1]
        assert len(read_all(broker.observer(stage.run_id).dead_letters())) == len(bodies)
        until(lambda: broker.counts(stage.run_id).tasks == 0)

    def test_replay_keeps_the_history(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        consumer = stage.consumer()
        (delivery,) = take(consumer)
        retry(consumer, delivery, reason="first")
        (delivery,) = take(consumer)
        dead_letter(consumer, delivery, reason="second")
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        (letter,) = read(broker.observer(stage.run_id).dead_letters(), 1)
        broker.replay(stage.run_id, letter)
        (again,) = take(consumer)
        assert (again.chunk.retries, again.attempt, again.redelivered) == (0, 1, 0)
        first, second = again.chunk.history
        assert first.reason == "first"
        assert "second" in second.reason
        complete(consumer, again, result_of(again))
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        if stage.counts_all:
            assert broker.counts(stage.run_id).dead == 0

    def test_discard_forgets_one(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 2)
        consumer = stage.consumer(prefetch=2)
        for delivery in take(consumer, 2):
            dead_letter(consumer, delivery, reason=f"no {delivery.chunk.chunk_id}")
        assert consumer.flush(timeout_seconds=SOON_SECONDS)
        first, second = read(broker.observer(stage.run_id).dead_letters(), 2)
        broker.discard(stage.run_id, first)
        left = [letter.position for letter in read_all(broker.observer(stage.run_id).dead_letters())]
        assert left == ([second.position] if stage.counts_all else [first.position, second.position])

    def test_a_letter_without_a_chunk_is_not_replayed(self, stage):
        broker = stage.broker()
        letter = Recorded(0, DeadLetter(stage.run_id, "malformed", "no chunk", 1, "w0", 0.0))
        with pytest.raises(BrokerError):
            broker.replay(stage.run_id, letter)


class TestHolding:
    def test_never_holds_more_than_its_prefetch(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 10)
        consumer = stage.consumer(prefetch=2)
        take(consumer, 2)
        assert takes_nothing(consumer)
        assert consumer.held() == (0, 1)
        assert broker.counts(stage.run_id).tasks == 8
        consumer.resize(5)
        take(consumer, 3)
        assert takes_nothing(consumer)
        assert sorted(consumer.held()) == [0, 1, 2, 3, 4]
        until(lambda: broker.counts(stage.run_id).tasks == 5)

    def test_a_smaller_prefetch_holds_from_then_on(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 10)
        consumer = stage.consumer(prefetch=3)
        taken = take(consumer, 3)
        consumer.resize(1)
        for delivery in taken[:2]:
            complete(consumer, delivery, result_of(delivery))
        assert takes_nothing(consumer)
        complete(consumer, taken[2], result_of(taken[2]))
        take(consumer, 1)
        assert takes_nothing(consumer)
        assert len(consumer.held()) == 1

    def test_close_gives_back_at_once_and_is_no_crash(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 4)
        leaving = stage.consumer("leaving", prefetch=3)
        take(leaving, 2)
        staying = stage.consumer("staying", prefetch=4)
        other = take(staying, 1)
        closed_at = time.monotonic()
        leaving.close()
        back = take(staying, 3)
        assert time.monotonic() - closed_at < stage.options.lease_seconds + 1
        assert sorted(each.chunk.chunk_id for each in other + back) == [0, 1, 2, 3]
        assert {(each.redelivered, each.attempt) for each in back} == {(0, 1)}
        for delivery in other + back:
            complete(staying, delivery, result_of(delivery))
        assert staying.flush(timeout_seconds=SOON_SECONDS)
        assert sorted(ids(read_all(broker.observer(stage.run_id).results()))) == [0, 1, 2, 3]

    def test_what_is_handed_back_counts_as_nothing_and_goes_to_whoever_asks(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 20)
        busy = stage.consumer("busy", prefetch=20)
        first, *others = take(busy, 6)
        busy.resize(0)
        busy.hand_back(others)
        idle = stage.consumer("idle", prefetch=20)
        back: list = []

        def all_came() -> bool:
            # Also what came to the busy one since.
            busy.hand_back(())
            back.extend(idle.take(most=20, wait_seconds=0.2))
            return len(back) == 19

        until(all_came)
        assert sorted(each.chunk.chunk_id for each in back) == list(range(1, 20))
        assert {(each.redelivered, each.attempt) for each in back} == {(0, 1)}
        until(lambda: busy.held() == (0,))
        assert busy.take(most=5, wait_seconds=0.1) == []
        complete(busy, first, result_of(first))
        for delivery in back:
            complete(idle, delivery, result_of(delivery))
        assert busy.flush(timeout_seconds=SOON_SECONDS)
        assert idle.flush(timeout_seconds=SOON_SECONDS)
        assert sorted(ids(read_all(broker.observer(stage.run_id).results()))) == list(range(20))
        busy.resize(1)
        publish(broker, stage.run_id, 1, first=20)
        idle.close()
        assert take(busy)[0].chunk.chunk_id == 20

    def test_handing_back_keeps_the_crashes(self, stage):
        publish(stage.broker(), stage.run_id, 1)
        dead = stage.consumer("dead")
        take(dead)
        stage.cut(dead)
        polite = stage.consumer("polite")
        (delivery,) = take(polite)
        assert delivery.redelivered == 1
        polite.resize(0)
        polite.hand_back([delivery])
        (again,) = take(stage.consumer("last"))
        assert (again.redelivered, again.attempt) == (1, 2)

    def test_a_closed_consumer_hands_out_nothing(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        consumer = stage.consumer()
        consumer.close()
        consumer.close()
        assert consumer.take(most=1, wait_seconds=0.1) == []
        drain(stage.consumer("next"), 1)

    def test_flush_with_nothing_to_do(self, stage):
        stage.broker()
        assert stage.consumer().flush(timeout_seconds=SOON_SECONDS)

    def test_a_live_slow_worker_keeps_its_chunk(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        slow, idle = stage.consumer("slow"), stage.consumer("idle")
        (delivery,) = take(slow)
        assert takes_nothing(idle, for_seconds=2.5 * stage.options.lease_seconds)
        complete(slow, delivery, result_of(delivery))
        assert slow.flush(timeout_seconds=SOON_SECONDS)
        assert ids(read_all(broker.observer(stage.run_id).results())) == [0]


class TestCrashes:
    def test_what_a_dead_worker_held_is_delivered_again(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 3)
        dead, alive = stage.consumer("dead", prefetch=2), stage.consumer("alive", prefetch=3)
        take(dead, 2)
        take(alive, 1)
        stage.cut(dead)
        cut_at = time.monotonic()
        back = take(alive, 2)
        assert time.monotonic() - cut_at < stage.options.lease_seconds + 3
        assert sorted(each.chunk.chunk_id for each in back) == [0, 1]
        assert {(each.redelivered, each.attempt) for each in back} == {(1, 2)}

    def test_a_chunk_that_kills_its_workers_ends_in_the_dlq(self, stage):
        stage.limit_deliveries(2)
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        for crash in range(SUSPECT_DEATHS):
            victim = stage.consumer(f"victim-{crash}")
            (delivery,) = take(victim)
            assert delivery.redelivered == crash
            stage.cut(victim)
        # From here on it comes alone, and to be begun at once: as often as the limit says, and once before.
        for crash in range(3):
            victim = stage.consumer(f"suspecting-{crash}")
            suspect = suspect_of(victim)
            assert suspect.redelivered >= SUSPECT_DEATHS
            stage.cut(victim)
        survivor = stage.consumer("survivor")
        dead_letters = broker.observer(stage.run_id).dead_letters()
        letter = None

        def is_given_up() -> bool:
            nonlocal letter
            assert survivor.take(most=1, wait_seconds=0.05) == []
            assert survivor.take_suspect() is None
            letter = letter or next(dead_letters)
            return letter is not None

        until(is_given_up)
        assert letter.message.cause == "delivery-limit"
        assert letter.message.chunk.chunk_id == 0
        assert letter.message.attempt == 3
        until(lambda: broker.counts(stage.run_id).tasks == 0)
        broker.replay(stage.run_id, letter)
        (again,) = take(survivor)
        assert (again.redelivered, again.chunk.retries) == (0, 0)

    def test_what_merely_waited_with_workers_that_died_is_never_given_up(self, real_stage):
        stage = real_stage
        stage.limit_deliveries(1)
        broker = stage.broker()
        publish(broker, stage.run_id, 60)
        for number in range(12):
            victim = stage.consumer(f"victim-{number}", prefetch=60)
            # Whatever it has in hand, the others wait beside it; a suspect is never among them.
            if number < SUSPECT_DEATHS:
                take(victim)
            else:
                assert takes_no_more(victim)
            stage.cut(victim)
        survivor = stage.consumer("survivor", prefetch=5)
        assert len(drain(survivor, 60, within_seconds=60)) == 60
        assert read_all(broker.observer(stage.run_id).dead_letters()) == []

    def test_completing_after_the_chunk_moved_on_records_a_duplicate(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        old, new = stage.consumer("old"), stage.consumer("new")
        (delivery,) = take(old)
        stage.cut(old)
        (again,) = take(new)
        complete(new, again, result_of(again, "new"))
        assert new.flush(timeout_seconds=SOON_SECONDS)
        stage.mend(old)
        complete(old, delivery, result_of(delivery, "old"))
        assert old.flush(timeout_seconds=SOON_SECONDS)
        results = read_all(broker.observer(stage.run_id).results())
        assert [(each.message.worker_id, each.message.redelivered) for each in results] == [
            ("new", 1),
            ("old", 0),
        ]
        assert takes_nothing(new)

    def test_the_late_ones_retry_does_not_take_the_chunk_from_who_has_it(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        old, new = stage.consumer("old"), stage.consumer("new")
        (delivery,) = take(old)
        stage.cut(old)
        (again,) = take(new)
        stage.mend(old)
        retry(old, delivery, reason="late")
        assert old.flush(timeout_seconds=SOON_SECONDS)
        old.close()
        complete(new, again, result_of(again))
        assert new.flush(timeout_seconds=SOON_SECONDS)
        if stage.name == "rabbitmq":
            # A retry is a message of its own there, whoever asks for it: a duplicate, and no loss.
            drain(new, 1)
        assert takes_nothing(new, for_seconds=2 * stage.options.retry_delay_seconds)
        results = ids(read_all(broker.observer(stage.run_id).results()))
        assert results == ([0, 0] if stage.name == "rabbitmq" else [0])

    def test_a_cut_worker_reconnects_says_so_and_goes_on(self, real_stage):
        stage = real_stage
        broker = stage.broker()
        publish(broker, stage.run_id, 5)
        said: list[str] = []
        consumer = stage.consumer(on_reconnect=said.append)
        drain(consumer, 1)
        stage.cut(consumer)
        deadline = time.monotonic() + SOON_SECONDS
        for _ in deliveries(consumer):
            if said or time.monotonic() > deadline:
                break
        assert len(said) == 1
        stage.mend(consumer)
        assert consumer.heartbeat is not None
        drain(consumer, 4)
        until(lambda: len(said) >= 2)
        assert not any("@" in message or "password" in message for message in said)

    def test_acking_early_loses_the_chunk(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        unsafe = stage.consumer("unsafe", unsafe_ack_early=True)
        take(unsafe)
        assert unsafe.held() == (0,)
        stage.cut(unsafe)
        assert takes_nothing(stage.consumer("alive"), for_seconds=stage.options.lease_seconds + 0.6)
        assert broker.counts(stage.run_id).tasks == 0

    def test_acking_early_gives_results_as_long_as_nothing_dies(self, stage):
        broker = stage.broker()
        publish(broker, stage.run_id, 10)
        drain(stage.consumer("unsafe", prefetch=3, unsafe_ack_early=True), 10)
        assert sorted(ids(read(broker.observer(stage.run_id).results(), 10))) == list(range(10))


class Process:
    """A worker in a process of its own, that holds a chunk."""

    def __init__(self, stage) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker_process.py"))],
            env={
                **os.environ,
                "BROKER_URL": stage.url,
                "RUN_ID": stage.run_id,
                "LEASE_SECONDS": str(stage.options.lease_seconds),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout.readline().startswith("took")

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def complete(self) -> None:
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        assert self._child.stdout.readline().startswith("completed")

    def end(self) -> None:
        self._child.kill()
        self._child.communicate()


class TestProcesses:
    def test_sigkill(self, real_stage):
        stage = real_stage
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        process = Process(stage)
        alive = stage.consumer("alive")
        assert takes_nothing(alive, for_seconds=0.1)
        process.end()
        killed_at = time.monotonic()
        (delivery,) = take(alive)
        assert time.monotonic() - killed_at < stage.options.lease_seconds + 3
        assert (delivery.chunk.chunk_id, delivery.redelivered) == (0, 1)

    def test_stopped_for_longer_than_the_lease(self, real_stage):
        stage = real_stage
        broker = stage.broker()
        publish(broker, stage.run_id, 1)
        process = Process(stage)
        process.send(signal.SIGSTOP)
        alive = stage.consumer("alive")
        (delivery,) = take(alive)
        process.send(signal.SIGCONT)
        process.complete()
        complete(alive, delivery, result_of(delivery, "alive"))
        assert alive.flush(timeout_seconds=SOON_SECONDS)
        process.end()
        results = read_all(broker.observer(stage.run_id).results())
        assert sorted(each.message.worker_id for each in results) == ["alive", "process"]
        assert takes_nothing(alive, for_seconds=stage.options.lease_seconds + 0.6)


class TestBrokerRestarts:
    @pytest.mark.parametrize("how", ["stopped", "killed"])
    def test_all_goes_on_where_it_was(self, restart_stage, how):
        stage = restart_stage
        before, after = 400, 50
        broker = stage.broker()
        said: list[str] = []
        consumers = [stage.consumer(f"w{i}", prefetch=5, on_reconnect=said.append) for i in range(2)]
        publish(broker, stage.run_id, before)
        results: set[int] = set()
        halfway, done, failures = threading.Event(), threading.Event(), []

        def observe() -> None:
            try:
                for message in broker.observer(stage.run_id).results():
                    if message is not None:
                        results.add(message.message.chunk_id)
                    if len(results) > before // 4:
                        halfway.set()
                    if len(results) == before + after or done.is_set():
                        return
            except BrokerError as error:
                failures.append(error)

        def work(consumer) -> None:
            try:
                for delivery in deliveries(consumer):
                    if delivery is not None:
                        time.sleep(0.002)
                        complete(consumer, delivery, result_of(delivery))
                    if done.is_set():
                        return
            except BrokerError as error:
                failures.append(error)

        publisher = broker.publisher(stage.run_id)
        late = chunks(stage.run_id, after, first=before)

        def while_away() -> None:
            with pytest.raises(BrokerUnavailable) as caught:
                list(publisher.publish(late))
            assert stage.url.split("@")[0].split(":")[-1] not in str(caught.value)
            with pytest.raises(BrokerUnavailable):
                broker.declare(stage.run_id)

        observing = threading.Thread(target=observe)
        threads = [observing, *(threading.Thread(target=work, args=(each,)) for each in consumers)]
        for thread in threads:
            thread.start()
        try:
            assert halfway.wait(SOON_SECONDS)
            stage.restart(kill=how == "killed", while_away=while_away)
            assert list(broker.publisher(stage.run_id).publish(late))[-1] == after
            observing.join(45)
        finally:
            done.set()
            for thread in threads:
                thread.join(15)
        assert failures == []
        assert sorted(results) == list(range(before + after))
        assert said


def test_a_wrong_password_is_no_outage(real_stage):
    from ttg_worker.brokers import open_broker

    head, tail = real_stage.url.rsplit("@", 1)
    url = f"{head[:-4]}@{tail}"
    broker = open_broker(url, options=real_stage.options)
    with pytest.raises(BrokerError) as caught:
        broker.declare(real_stage.run_id)
    assert not isinstance(caught.value, BrokerUnavailable)
    assert head.rsplit(":", 1)[1][:-4] not in str(caught.value)
