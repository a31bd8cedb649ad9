"""What only the Redis broker promises, and what only a Redis server can do to it."""

from __future__ import annotations

import time

import msgspec
import pytest
import redis

from support.consuming import complete as settle_result
from support.consuming import dead_letter, deliveries, retry
from ttg_worker.brokers.base import QueueCounts, Unreadable
from ttg_worker.brokers.redis.connection import Keys
from ttg_worker.wire import Chunk, ChunkResult, digest

pytestmark = pytest.mark.server
SOON_SECONDS = 15.0


def publish(stage, *chunk_ids: int) -> None:
    chunks = [Chunk(stage.run_id, i, i, i + 1) for i in chunk_ids]
    assert list(stage.broker().publisher(stage.run_id).publish(chunks))[-1] == len(chunk_ids)


def take(consumer, count: int = 1) -> list:
    deadline = time.monotonic() + SOON_SECONDS
    taken = []
    for delivery in deliveries(consumer):
        if delivery is not None:
            taken.append(delivery)
        if len(taken) == count or time.monotonic() > deadline:
            break
    assert len(taken) == count
    return taken


def nothing_for(consumer, seconds: float) -> bool:
    until = time.monotonic() + seconds
    for delivery in deliveries(consumer):
        if delivery is not None:
            return False
        if time.monotonic() > until:
            return True
    raise AssertionError("the consumer ended")


def complete(consumer, *deliveries, values: bytes = b"[1]") -> None:
    for delivery in deliveries:
        now = time.time()
        result = ChunkResult(
            run_id=delivery.chunk.run_id,
            chunk_id=delivery.chunk.chunk_id,
            worker_id="w",
            attempt=delivery.attempt,
            redelivered=delivery.redelivered,
            started_at=now,
            finished_at=now,
            digest=digest(values),
            values=msgspec.Raw(values),
        )
        settle_result(consumer, delivery, result)
    assert consumer.flush(timeout_seconds=SOON_SECONDS)


def read(messages, count: int) -> list:
    deadline = time.monotonic() + SOON_SECONDS
    seen = []
    while len(seen) < count and time.monotonic() < deadline:
        seen += [message for message in (next(messages),) if message is not None]
    assert len(seen) == count
    return seen


@pytest.fixture
def raw(redis_stage):
    with redis.Redis.from_url(redis_stage.url) as client:
        yield client


def test_counts_of_no_run_are_zero(redis_stage):
    assert redis_stage.broker(declare=False).counts(redis_stage.run_id) == QueueCounts(0, 0, 0, 0, 0)


def test_drop_leaves_no_key(redis_stage, raw):
    broker = redis_stage.broker()
    publish(redis_stage, 0, 1, 2)
    consumer = redis_stage.consumer(prefetch=3)
    first, second, third = take(consumer, 3)
    complete(consumer, first)
    retry(consumer, second, reason="x")
    dead_letter(consumer, third, reason="y")
    assert consumer.flush(timeout_seconds=SOON_SECONDS)
    assert raw.keys(f"*{redis_stage.run_id}*")
    consumer.close()
    broker.drop(redis_stage.run_id)
    assert raw.keys(f"*{redis_stage.run_id}*") == []


def test_other_fields_are_malformed_and_shown(redis_stage, raw):
    broker = redis_stage.broker()
    raw.xadd(Keys(redis_stage.run_id).tasks, {"job": "x", "args": "\x00"})
    publish(redis_stage, 0)
    complete(redis_stage.consumer(), *take(redis_stage.consumer()))
    (letter,) = read(broker.observer(redis_stage.run_id).dead_letters(), 1)
    assert (letter.message.cause, letter.message.chunk) == ("malformed", None)
    assert letter.message.body == "job x args \\x00"


def test_what_is_no_letter_in_the_dlq_is_shown_as_unreadable(redis_stage, raw):
    raw.xadd(Keys(redis_stage.run_id).dlq, {"body": b"{"})
    (letter,) = read(redis_stage.broker().observer(redis_stage.run_id).dead_letters(), 1)
    assert isinstance(letter.message, Unreadable)
    assert letter.message.body == "{"


def test_a_deleted_message_hinders_nobody(redis_stage, raw):
    broker = redis_stage.broker()
    publish(redis_stage, 0, 1)
    dead = redis_stage.consumer("dead", prefetch=2)
    take(dead, 2)
    tasks = Keys(redis_stage.run_id).tasks
    raw.xdel(tasks, raw.xrange(tasks, count=1)[0][0])
    redis_stage.cut(dead)
    alive = redis_stage.consumer("alive", prefetch=2)
    (delivery,) = take(alive)
    assert delivery.chunk.chunk_id == 1
    complete(alive, delivery)
    assert broker.counts(redis_stage.run_id) == QueueCounts(0, 0, 0, 0, 1)


def test_a_server_that_lost_all_is_used_anew(redis_stage, raw):
    broker = redis_stage.broker()
    publish(redis_stage, 0)
    consumer = redis_stage.consumer()
    (delivery,) = take(consumer)
    raw.unlink(*Keys(redis_stage.run_id).all)
    complete(consumer, delivery)  # its result is no less true
    publish(redis_stage, 1)
    complete(consumer, *take(consumer))
    results = read(broker.observer(redis_stage.run_id).results(), 2)
    assert [each.message.chunk_id for each in results] == [0, 1]


def test_a_dead_workers_many_chunks_all_come_back(redis_stage):
    publish(redis_stage, *range(1200))
    dead = redis_stage.consumer("dead", prefetch=1200)
    take(dead)
    redis_stage.cut(dead)
    alive = redis_stage.consumer("alive", prefetch=50)
    seen = set()
    deadline = time.monotonic() + SOON_SECONDS
    for delivery in deliveries(alive):
        if delivery is not None:
            assert delivery.redelivered == 1
            seen.add(delivery.chunk.chunk_id)
            complete(alive, delivery)
        if len(seen) == 1200 or time.monotonic() > deadline:
            break
    assert len(seen) == 1200


def test_who_gives_back_hands_the_crashes_on(redis_stage):
    publish(redis_stage, 0)
    dead = redis_stage.consumer("dead")
    take(dead)
    redis_stage.cut(dead)
    polite = redis_stage.consumer("polite")
    assert take(polite)[0].redelivered == 1
    polite.close()
    last = redis_stage.consumer("last")
    (delivery,) = take(last)
    assert (delivery.redelivered, delivery.attempt) == (1, 2)


def test_an_outage_longer_than_the_lease_takes_no_chunk_from_its_holder(redis_stage):
    broker = redis_stage.broker()
    publish(redis_stage, 0)
    holder, other = redis_stage.consumer("holder"), redis_stage.consumer("other")
    (delivery,) = take(holder)
    assert nothing_for(other, 0.3)
    for consumer in (holder, other):
        redis_stage.cut(consumer)
    assert nothing_for(other, 2 * redis_stage.options.lease_seconds)
    for consumer in (holder, other):
        redis_stage.mend(consumer)
    assert nothing_for(other, 2 * redis_stage.options.lease_seconds)
    complete(holder, delivery)
    (result,) = read(broker.observer(redis_stage.run_id).results(), 1)
    assert result.message.redelivered == 0


def test_a_worker_that_was_away_for_too_long_drops_what_it_had_not_begun(redis_stage):
    broker = redis_stage.broker()
    publish(redis_stage, 0, 1, 2)
    late = redis_stage.consumer("late", prefetch=3)
    (begun,) = take(late)
    redis_stage.cut(late)
    quick = redis_stage.consumer("quick", prefetch=3)
    complete(quick, *take(quick, 3))
    redis_stage.mend(late)
    complete(late, begun)
    assert nothing_for(late, 0.5)
    assert late.held() == ()
    results = read(broker.observer(redis_stage.run_id).results(), 4)
    assert sorted(each.message.chunk_id for each in results) == [0, 0, 1, 2]


def test_large_results_are_read_in_pages_that_fit(redis_stage):
    broker = redis_stage.broker()
    publish(redis_stage, *range(60))
    consumer = redis_stage.consumer(prefetch=20)
    values = b'["%s"]' % (b"x" * 300_000)
    for _ in range(3):
        complete(consumer, *take(consumer, 20), values=values)
    results = read(broker.observer(redis_stage.run_id).results(), 60)
    assert sorted(each.message.chunk_id for each in results) == list(range(60))
    assert {len(bytes(each.message.values)) for each in results} == {len(values)}


def test_a_worker_leaves_no_consumer_behind(redis_stage, raw):
    publish(redis_stage, 0)
    consumer = redis_stage.consumer()
    complete(consumer, *take(consumer))
    tasks = Keys(redis_stage.run_id).tasks
    assert len(raw.xinfo_consumers(tasks, "workers")) == 1
    consumer.close()
    assert raw.xinfo_consumers(tasks, "workers") == []
