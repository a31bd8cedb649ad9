"""``ttgctl bench`` on brokers of its own: that it measures, and that it leaves nothing behind."""

from __future__ import annotations

import json
import signal

import psutil
import pytest

from ttgctl.substrates.local.processes import RUN_MARK


@pytest.fixture
def leftovers(ttgctl, tmp_path, monkeypatch):
    """What a benchmark of this test has on the machine right now: its files and processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))

    def here() -> list[str]:
        found = [entry.name for entry in folder.iterdir()]
        for process in psutil.process_iter():
            try:
                if process.environ().get(RUN_MARK, "").startswith(str(folder)):
                    found.append(process.name())
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    return here


def bench(ttgctl, *arguments: str) -> dict:
    done = ttgctl("bench", "--repeat", "1", "--output", "json", *arguments, within_seconds=110)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_sets_our_workers_beside_the_raw_client(ttgctl, backend, leftovers):
    only = ["--only", "ttgctl", "--only", "ceiling", "--backend", backend]
    report = bench(ttgctl, *only, "--chunks", "2000", "--workers", "1")
    raw, own = report["throughput"]
    assert (raw["what"], raw["workers"], raw["of_ceiling"]) == ("raw client", None, 1.0)
    assert (own["what"], own["workers"], own["backend"]) == ("ttgctl", 1, backend)
    assert own["of_ceiling"] == pytest.approx(own["chunks_per_second"] / raw["chunks_per_second"])
    assert len(report["aims"]) == 1
    assert leftovers() == []


@pytest.mark.server
def test_measures_celery_and_dramatiq_time_and_again(ttgctl, leftovers):
    only = ["--only", "celery", "--only", "dramatiq"]
    report = bench(ttgctl, *only, "--chunks", "3000", "--workers", "1", "--repeat", "2")
    rows = {row["what"]: row for row in report["throughput"]}
    assert set(rows) == {"Celery", "Dramatiq"}
    assert all(row["chunks"] == 300 and len(row["rates"]) == 2 for row in rows.values())
    assert all(rate > 0 for row in rows.values() for rate in row["rates"])
    assert leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_behind_when_it_is_told_to_stop(ttgctl, backend, leftovers, until, number):
    running = ttgctl.start("bench", "--only", "ttgctl", "--backend", backend, "--chunks", "100000")
    until(lambda: any(name.startswith("python") for name in leftovers()), what="a worker")
    running.send(number)
    done = running.wait()
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted; its brokers, workers and files are removed"
    assert leftovers() == []


def test_leaves_nothing_behind_when_it_is_killed(ttgctl, backend, leftovers, until):
    running = ttgctl.start("bench", "--only", "ttgctl", "--backend", backend, "--chunks", "100000")
    until(lambda: any(name.startswith("python") for name in leftovers()), what="a worker")
    running.send(signal.SIGKILL)
    until(lambda: leftovers() == [], what="nothing left of it")


def test_costs_of_the_command_are_set_beside_their_aims(ttgctl, leftovers):
    aims = {aim["what"]: aim for aim in bench(ttgctl, "--only", "commands")["aims"]}
    assert 0 < aims["ttgctl --help"]["measured"] < 60
    assert 0 < aims["command to first chunk in a worker, embedded server"]["measured"] < 60
    assert leftovers() == []
