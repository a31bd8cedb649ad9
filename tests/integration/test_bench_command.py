"""``ttgctl bench``: it measures a broker of its own, and yours, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
from contextlib import closing

import pytest

from ttg_worker.brokers import open_broker
from ttg_worker.brokers.base import DeliveryOptions
from ttgctl.drain_rate.servers import running_servers


def bench(ttgctl, *arguments: str) -> dict:
    done = ttgctl("bench", "--repeat", "1", "--output", "json", *arguments, within_seconds=110)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_measures_a_broker_of_its_own(ttgctl, backend, leftovers):
    report = bench(ttgctl, "--backend", backend, "--chunks", "2000", "--workers", "1")
    (rate,) = report["rates"]
    assert (rate["backend"], rate["workers"], rate["chunks"]) == (backend, 1, 2000)
    assert rate["chunks_per_second"] > 0
    assert leftovers() == []


def test_measures_a_broker_that_was_there_and_leaves_the_runs_of_others(ttgctl, tmp_path, leftovers):
    with (
        running_servers(["redis"], tmp_path / "server") as urls,
        closing(open_broker(urls["redis"], options=DeliveryOptions())) as broker,
    ):
        broker.declare("bench")
        report = bench(ttgctl, "--broker-url", urls["redis"], "--chunks", "2000", "--workers", "1")
        assert report["rates"][0]["chunks_per_second"] > 0
        assert broker.exists("bench")
    assert leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_behind_when_it_is_told_to_stop(ttgctl, backend, leftovers, until, number):
    running = ttgctl.start("bench", "--backend", backend, "--chunks", "100000")
    until(lambda: any(name.startswith("python") for name in leftovers()), what="a worker")
    running.send(number)
    done = running.wait()
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted; its brokers, workers and files are removed"
    assert leftovers() == []


def test_leaves_nothing_behind_when_it_is_killed(ttgctl, backend, leftovers, until):
    running = ttgctl.start("bench", "--backend", backend, "--chunks", "100000")
    until(lambda: any(name.startswith("python") for name in leftovers()), what="a worker")
    running.send(signal.SIGKILL)
    until(lambda: leftovers() == [], what="nothing left of it")
