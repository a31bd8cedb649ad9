"""Fixed shares: who computes what, what is read back, and what a killed writer can do to a file."""

from __future__ import annotations

import msgspec
import pytest

from ttg_worker import wire
from ttg_worker.brokers import open_broker
from ttg_worker.brokers.attempts import given_up, retried
from ttg_worker.brokers.base import DeliveryOptions, Outcome
from ttg_worker.brokers.static.broker import static_url
from ttg_worker.brokers.static.files import LineFile
from ttg_worker.errors import BrokerError
from ttg_worker.wire import Chunk, ChunkResult, Heartbeat, ParameterError

OPTIONS = DeliveryOptions(retry_delay_seconds=0.01)


def chunk(chunk_id: int) -> Chunk:
    return Chunk("r", chunk_id, chunk_id, chunk_id + 1)


def result(chunk_id: int, *, worker_id: str = "worker-1") -> ChunkResult:
    values = b"[1]"
    return ChunkResult("r", chunk_id, worker_id, 1, 0, 1.0, 2.0, wire.digest(values), msgspec.Raw(values))


def take(records) -> list:
    """What there is now."""
    found = []
    for record in records:
        if record is None:
            return found
        found.append(record)
    return found


def computed(consumer) -> list:
    """All that it is given, each with a result before the next."""
    found = []
    while deliveries := consumer.take(most=10, wait_seconds=0):
        for delivery in deliveries:
            consumer.settle(delivery, Outcome(results=(result(delivery.chunk.chunk_id),)))
        found += deliveries
    return found


@pytest.fixture
def broker(tmp_path):
    broker = open_broker(static_url(tmp_path / "a folder?", workers=3), options=OPTIONS)
    broker.declare("r")
    return broker


def publish(broker, chunk_ids) -> list[int]:
    return list(broker.publisher("r").publish(chunk(c) for c in chunk_ids))


class TestShares:
    def test_every_chunk_is_exactly_one_workers(self, broker):
        assert publish(broker, range(2500))[-1] == 2500
        shares = []
        for number in (1, 2, 3):
            consumer = broker.consumer("r", f"worker-{number}", prefetch=9)
            mine = [delivery.chunk.chunk_id for delivery in computed(consumer)]
            assert {c % 3 for c in mine} == {number - 1}
            shares += mine
        assert sorted(shares) == list(range(2500))
        assert broker.counts("r").tasks == 0
        assert broker.counts("r").results == 2500

    def test_what_a_worker_left_is_nobody_elses(self, broker):
        publish(broker, range(6))
        assert broker.consumer("r", "worker-2", prefetch=1).take(most=1, wait_seconds=0)
        broker.consumer("r", "worker-2", prefetch=1).close()
        other = broker.consumer("r", "worker-1", prefetch=1)
        assert [d.chunk.chunk_id for d in computed(other)] == [0, 3]
        assert broker.counts("r").tasks == 4

    @pytest.mark.parametrize("name", ["worker-4", "worker-0", "worker"])
    def test_a_worker_beyond_the_shares_is_refused(self, broker, name):
        with pytest.raises(BrokerError, match="no share"):
            broker.consumer("r", name, prefetch=1)

    def test_a_url_may_name_the_share_whatever_the_workers_name(self, broker, tmp_path):
        publish(broker, range(6))
        url = static_url(tmp_path / "a folder?", workers=3, share="1")
        consumer = open_broker(url, options=OPTIONS).consumer("r", "pod-2-x9", prefetch=1)
        assert [d.chunk.chunk_id for d in computed(consumer)] == [1, 4]

    def test_what_is_handed_back_comes_again_and_the_rest_stays_in_hand(self, broker):
        publish(broker, range(6))
        consumer = broker.consumer("r", "worker-1", prefetch=1)
        (first,) = consumer.take(most=1, wait_seconds=0)
        consumer.hand_back([])
        assert consumer.held() == (0,)
        consumer.hand_back([first])
        assert consumer.held() == ()
        assert [d.chunk.chunk_id for d in computed(consumer)] == [0, 3]

    def test_retries_here_and_gives_up_in_a_file(self, broker, until):
        publish(broker, [0])
        consumer = broker.consumer("r", "worker-1", prefetch=1)
        (first,) = consumer.take(most=5, wait_seconds=0)
        assert consumer.held() == (0,)
        boom = [ParameterError((0,), "ValueError", "boom")]
        consumer.settle(first, Outcome(retry=retried(first, boom, worker_id="worker-1")))
        assert consumer.held() == (0,)
        (second,) = until(lambda: consumer.take(most=5, wait_seconds=0.1))
        assert (second.attempt, second.chunk.retries) == (2, 1)
        assert [failure.reason for failure in second.chunk.history] == ["boom"]
        again = [ParameterError((0,), "ValueError", "boom again")]
        consumer.settle(second, Outcome(letter=given_up(second, again, worker_id="worker-1")))
        assert consumer.held() == ()
        (letter,) = take(broker.observer("r").dead_letters())
        assert letter.message.detail == "boom again"
        assert broker.counts("r").dead == 1
        with pytest.raises(BrokerError):
            broker.replay("r", letter)


class TestObserver:
    def test_any_number_of_readers_see_the_same_and_go_on_from_any_place(self, broker):
        consumer = broker.consumer("r", "worker-1", prefetch=1)
        publish(broker, [0, 3, 6])
        assert len(computed(consumer)) == 3
        first = take(broker.observer("r").results())
        assert [record.message.chunk_id for record in first] == [0, 3, 6]
        assert take(broker.observer("r").results()) == first
        assert take(broker.observer("r").results(after=first[1].position)) == first[2:]
        assert [r.position for r in first] == sorted({r.position for r in first})

    def test_hears_the_newest_beat_of_each_worker(self, broker):
        consumer = broker.consumer("r", "worker-1", prefetch=1)
        for at in (1.0, 2.0):
            consumer.heartbeat(Heartbeat("r", "worker-1", "busy", 3, (3,), 0, 0, 0.0, at))
        (heartbeat,) = broker.observer("r").heartbeats()
        assert heartbeat.at == 2.0

    def test_a_run_is_there_until_it_is_dropped(self, broker):
        assert broker.exists("r")
        broker.drop("r")
        assert not broker.exists("r")
        broker.drop("r")
        assert broker.counts("r").tasks == 0


class TestLineFile:
    @pytest.fixture
    def file(self, tmp_path) -> LineFile:
        path = tmp_path / "lines"
        path.touch()
        return LineFile(path)

    def test_half_a_line_is_not_there_and_does_not_spoil_the_next(self, file):
        file.append([b"one"])
        with file.path.open("ab") as torn:
            torn.write(b"two-and-a-ha")
        assert [line for _, line in file.read(0)] == [b"one"]
        assert file.count() == 1
        file.append([b"three", b"four"])
        assert [line for _, line in file.read(0)] == [b"one", b"three", b"four"]
        assert file.count() == 3

    def test_blocks_are_whole_lines_and_put_at_their_place_make_the_same_file(self, file, tmp_path):
        lines = [b"one", b"x" * 50, b"three"]
        file.append(lines)
        with file.path.open("ab") as torn:
            torn.write(b"four-and-a-ha")
        copy = LineFile(tmp_path / "copy")
        copy.path.touch()
        sizes, position = [], 0
        while block := file.block(position, most=10):
            copy.put(position, block)
            copy.put(position, block)
            position += len(block)
            sizes.append(len(block))
        assert sizes == [4, 51, 6]
        assert copy.path.read_bytes() == b"".join(line + b"\n" for line in lines)
        assert position == copy.end() == file.end()

    def test_a_long_torn_line_is_cut_whole(self, file):
        file.path.write_bytes(b"x" * 200_000)
        file.append([b"one"])
        assert [line for _, line in file.read(0)] == [b"one"]


@pytest.mark.parametrize(
    "url",
    [
        "static:///a",
        "static:///a?workers=0",
        "static:///a?workers=x",
        "static://?workers=2",
        "static:///a?workers=2&share=2",
        "static:///a?workers=2&share=$(JOB_COMPLETION_INDEX)",
    ],
)
def test_a_url_that_names_no_shares_is_refused(url):
    with pytest.raises(BrokerError, match="expected static:///FOLDER"):
        open_broker(url, options=OPTIONS)
