"""What the benchmark makes of measurements; none are taken here."""

from __future__ import annotations

import pytest

from benchmarks.contenders import CEILING, CELERY, DRAMATIQ, OWN, Contender, contenders
from benchmarks.throughput import Aim, aims, compared, measure
from ttgctl.drain_rate.rates import BenchmarkError, Done, chunks_per_second


def contender(
    what: str, *, backend: str = "rabbitmq", workers: int | None = 1, rate: float = 1.0
) -> Contender:
    return Contender(what=what, backend=backend, workers=workers, chunks=10, drain=lambda: rate)


def row_of(rows, what, backend="rabbitmq", workers=1):
    (row,) = [r for r in rows if (r.what, r.backend, r.workers) == (what, backend, workers)]
    return row


def test_the_rate_of_one_worker_runs_from_its_first_chunk_to_its_last():
    assert chunks_per_second([Done("a", at) for at in (10.0, 10.5, 11.0, 12.0)]) == 1.5


def test_a_worker_that_starts_late_moves_the_beginning_for_all():
    early = [Done("early", at) for at in (0.0, 1.0, 2.0, 10.0, 11.0, 12.0)]
    late = [Done("late", at) for at in (10.0, 11.0, 12.0)]
    # From 10.0 on, without what was done before or then: two each in two seconds.
    assert chunks_per_second([*early, *late]) == 2.0


def test_the_order_of_what_was_done_does_not_matter():
    done = [Done("ab"[i % 2], i * 0.25) for i in range(40)]
    assert chunks_per_second(done[::-1]) == chunks_per_second(done) == pytest.approx(4.0)


@pytest.mark.parametrize("done", [[], [Done("a", 1.0)], [Done("a", 1.0), Done("a", 1.5), Done("b", 2.0)]])
def test_work_that_was_over_before_all_workers_were_there_gives_no_rate(done):
    with pytest.raises(BenchmarkError, match="--chunks"):
        chunks_per_second(done)


def test_contenders_are_measured_in_turn_and_their_medians_count():
    order = []
    rates = {OWN: iter([30.0, 10.0, 20.0]), CEILING: iter([50.0, 40.0, 100.0])}

    def taking_turns(what: str) -> Contender:
        def drain() -> float:
            order.append(what)
            return next(rates[what])

        return Contender(
            what=what, backend="redis", workers=None if what == CEILING else 1, chunks=1, drain=drain
        )

    said: list[str] = []
    rows = measure([taking_turns(CEILING), taking_turns(OWN)], repeat=3, say=said.append)
    assert order == [CEILING, OWN] * 3
    own = row_of(rows, OWN, "redis")
    assert own.rates == (30.0, 10.0, 20.0)
    assert own.chunks_per_second == 20.0
    assert own.of_ceiling == 20.0 / 50.0
    assert len(said) == 6
    assert "ttgctl on redis, 1 worker: 30 chunks/s" in said[1]


def test_rivals_are_compared_with_as_many_workers_and_the_ceiling_with_its_backend():
    rows = compared(
        [
            (contender(CEILING, workers=None), [100.0]),
            (contender(CEILING, backend="redis", workers=None), [400.0]),
            (contender(OWN, workers=1), [80.0]),
            (contender(OWN, workers=2), [120.0]),
            (contender(OWN, backend="redis", workers=2), [300.0]),
            (contender(CELERY, workers=1), [10.0]),
            (contender(DRAMATIQ, workers=2), [40.0]),
        ]
    )
    one, two = row_of(rows, OWN), row_of(rows, OWN, workers=2)
    assert (one.of_ceiling, one.times_celery, one.times_dramatiq) == (0.8, 8.0, None)
    assert (two.of_ceiling, two.times_celery, two.times_dramatiq) == (1.2, None, 3.0)
    assert row_of(rows, OWN, "redis", 2).of_ceiling == 0.75


def test_aims_set_the_best_of_each_side_against_each_other():
    rows = compared(
        [
            (contender(CEILING, workers=None), [100.0]),
            (contender(OWN, workers=1), [79.0]),
            (contender(OWN, workers=2), [90.0]),
            (contender(CELERY, workers=1), [1.0]),
            (contender(CELERY, workers=2), [12.0]),
        ]
    )
    ceiling, celery = aims(rows)
    assert (ceiling.measured, ceiling.wanted, ceiling.met) == (0.9, 0.8, True)
    assert (celery.measured, celery.wanted, celery.met) == (7.5, 8.0, False)


def test_an_aim_at_the_least_is_met_from_below():
    aim = Aim(what="time", measured=0.2, wanted=0.2, unit="s", least=False)
    assert aim.met
    assert not Aim(what="time", measured=0.21, wanted=0.2, unit="s", least=False).met


def test_rivals_want_both_servers(tmp_path):
    def names(urls):
        found = contenders(
            [OWN, CEILING, CELERY, DRAMATIQ], urls=urls, workers=[1, 2], chunks=100, folder=tmp_path
        )
        return [(c.what, c.backend, c.workers, c.chunks) for c in found]

    rabbitmq = [(CEILING, "rabbitmq", None, 100), (OWN, "rabbitmq", 1, 100), (OWN, "rabbitmq", 2, 100)]
    redis = [(CEILING, "redis", None, 400), (OWN, "redis", 1, 400), (OWN, "redis", 2, 400)]
    rivals = [(what, "rabbitmq", n, 10) for what in (CELERY, DRAMATIQ) for n in (1, 2)]
    assert names({"rabbitmq": "amqp://x"}) == rabbitmq
    assert names({"redis": "redis://x/0"}) == redis
    assert names({"rabbitmq": "amqp://x", "redis": "redis://x/0"}) == rabbitmq + redis + rivals
