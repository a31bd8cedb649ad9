"""Chunks count as published when they are confirmed, and publishing goes on from there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ttg_worker.errors import BrokerError, BrokerUnavailable
from ttg_worker.wire import Chunk
from ttgctl.core.inputs.parameters import IndexParameters
from ttgctl.core.run.publishing import Outstanding, Publishing
from ttgctl.domain.run import RunSpec


def spec(chunks: int, **changes) -> RunSpec:
    return RunSpec(
        run_id="r", backend="redis", substrate="local", parameters_total=chunks, chunk_size=1, **changes
    )


class FakeBroker:
    """Confirms in batches of two; ``trouble`` has what happens after so many chunks, once each."""

    def __init__(self, **trouble: Exception) -> None:
        self.sent: list[int] = []
        self.trouble = {int(after.strip("_")): error for after, error in trouble.items()}
        self.opened = self.closed = 0

    def publisher(self, run_id: str) -> FakeBroker:
        self.opened += 1
        return self

    def publish(self, chunks: Iterable[Chunk]) -> Iterator[int]:
        confirmed = 0
        for number, chunk in enumerate(chunks, 1):
            self.sent.append(chunk.chunk_id)
            error = self.trouble.pop(len(self.sent), None)
            if error is not None:
                raise error
            if number % 2 == 0:
                confirmed = number
                yield confirmed
        yield len(self.sent) if confirmed == 0 else max(confirmed, number)

    def close(self) -> None:
        self.closed += 1


def run(broker: FakeBroker, plan: RunSpec, *, first: int = 0) -> Publishing:
    return run_outstanding(broker, plan, Outstanding(first))


def run_outstanding(broker: FakeBroker, plan: RunSpec, outstanding: Outstanding) -> Publishing:
    publishing = Publishing(broker, plan, IndexParameters(plan.parameters_total), outstanding)
    publishing.start()
    publishing._thread.join(timeout=20)
    return publishing


def test_all_are_sent_in_order_and_counted():
    broker = FakeBroker()
    publishing = run(broker, spec(7))
    assert broker.sent == list(range(7))
    assert (publishing.attempted, publishing.acknowledged, publishing.finished) == (7, 7, True)
    assert publishing.error is None
    assert broker.closed == broker.opened == 1


def test_after_an_outage_it_goes_on_from_what_was_confirmed():
    broker = FakeBroker(_5=BrokerUnavailable("gone"))
    publishing = run(broker, spec(7))
    # Confirmed were two pairs; the fifth may or may not be there, so it is sent again.
    assert broker.sent == [0, 1, 2, 3, 4, 4, 5, 6]
    assert (publishing.attempted, publishing.acknowledged, publishing.finished) == (7, 7, True)
    assert broker.closed == broker.opened == 2


def test_a_later_command_begins_where_the_first_one_stopped():
    broker = FakeBroker()
    publishing = run(broker, spec(7), first=4)
    assert broker.sent == [4, 5, 6]
    assert (publishing.attempted, publishing.acknowledged, publishing.finished) == (7, 7, True)


def test_nothing_left_is_finished_at_once():
    class Nothing(FakeBroker):
        def publish(self, chunks):
            assert list(chunks) == []
            yield 0

    publishing = run(Nothing(), spec(7), first=7)
    assert (publishing.acknowledged, publishing.finished) == (7, True)


@pytest.mark.parametrize("error", [BrokerError("refused"), ValueError("a bug")])
def test_what_will_not_get_better_is_told(error):
    publishing = run(FakeBroker(_3=error), spec(7))
    assert publishing.error is error
    assert (publishing.finished, publishing.acknowledged) == (False, 2)


def test_stopped_it_says_how_far_it_came():
    class Slow(FakeBroker):
        def publish(self, chunks):
            for number, _ in enumerate(chunks, 1):
                yield number
                if number == 3:
                    publishing._stop.set()

    publishing = Publishing(Slow(), spec(100), IndexParameters(100), Outstanding())
    publishing.start()
    publishing._thread.join(timeout=20)
    assert publishing.acknowledged == 3
    assert publishing.attempted >= 3
    assert not publishing.finished


def test_a_chunk_that_the_plan_wants_twice_counts_once():
    broker = FakeBroker()
    publishing = run(broker, spec(4, faults=("duplicate chunks=1,3",)))
    assert broker.sent == [0, 1, 1, 2, 3, 3]
    assert (publishing.attempted, publishing.acknowledged, publishing.finished) == (4, 4, True)


def test_what_is_known_is_not_sent_but_counted():
    broker = FakeBroker(_3=BrokerUnavailable("gone"))
    known = bytes([1, 0, 0, 1, 0, 0, 1, 1])
    publishing = run_outstanding(broker, spec(8), Outstanding(known=known))
    assert broker.sent == [1, 2, 4, 4, 5]
    assert (publishing.attempted, publishing.acknowledged, publishing.finished) == (8, 8, True)


def test_of_what_is_known_in_part_the_rest_is_sent():
    sent = []

    class Keeping(FakeBroker):
        def publish(self, chunks):
            sent.extend(chunks)
            yield len(sent)

    plan = RunSpec(run_id="r", backend="redis", substrate="local", parameters_total=9, chunk_size=3)
    outstanding = Outstanding(first=1, again=[0], offsets={0: (1,), 2: (0, 2)})
    publishing = run_outstanding(Keeping(), plan, outstanding)
    assert [(chunk.chunk_id, chunk.offsets) for chunk in sent] == [(0, (1,)), (1, ()), (2, (0, 2))]
    assert (publishing.again_finished, publishing.acknowledged, publishing.finished) == (True, 3, True)
