"""Whole runs through the installed command, with workers killed, on real brokers."""

from __future__ import annotations

import csv
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from ttgctl.core.account.ledger import Ledger
from ttgctl.domain.events import Finished, Started
from ttgctl.substrates.local import processes
from ttgctl.substrates.local.substrate import BROKER

# As long as it is promised that a broker may be away; where somebody waits for the tests, shorter.
AWAY_SECONDS = 20.0 if os.environ.get("CI") else 6.0


def lossless(done, *, chunks: int) -> dict:
    """The verdict, once it is sure that it is the best there is."""
    assert done.code == 0, done.err
    verdict = done.verdict
    account = verdict["chunks"]
    assert verdict["lossless"] is True
    assert verdict["complete"] is True
    assert (account["attempted"], account["acknowledged"], account["ok"]) == (chunks, chunks, chunks)
    assert (account["lost"], account["conflicting"], account["unexpected"], account["dead_lettered"]) == (
        0, 0, 0, 0,
    )  # fmt: skip
    assert verdict["lost_chunks"] == []
    assert verdict["checksum"] == verdict["checksum_expected"]
    results = chunks + account["duplicated"]
    assert verdict["queues_after"] == {
        "ttg.tasks": 0, "ttg.results": results, "ttg.tasks.retry": 0, "ttg.tasks.dlq": 0,
    }  # fmt: skip
    return verdict


class TestARunOfItsOwn:
    def test_survives_a_kill_and_leaves_its_record_and_nothing_else(self, ttgctl, backend):
        arguments = ttgctl.demo(
            "--fault-demo", backend=backend, name="kept", parameters_total=600, chunk_size=10, work_ms=20,
            lease_ms=1000,
        )  # fmt: skip
        verdict = lossless(ttgctl(*arguments), chunks=60)

        (fault,) = verdict["faults"]
        assert fault["kind"] == "kill-worker"
        assert fault["victim"].startswith("worker-")
        assert fault["chunks_held"]
        assert fault["effect"]
        assert 0 < fault["redelivered_seconds"] < 8
        assert 0 < fault["replaced_seconds"] < 30
        assert verdict["chunks"]["recovered"] >= 1
        assert verdict["parameters"] == {"total": 600, "ok": 600, "failed": 0, "lost": 0}

        folder = ttgctl.folder("kept")
        assert ttgctl.processes() == []
        assert not folder.local.exists()
        assert folder.run_json.is_file()
        assert "worker" in folder.report.read_text()
        events = ttgctl.events("kept")
        assert isinstance(events[0], Started)
        assert isinstance(events[-1], Finished)
        with sqlite3.connect(folder.ledger) as ledger:
            assert ledger.execute("SELECT count(*) FROM results").fetchone() == (60,)

    def test_retries_what_fails_until_nothing_is_missing(self, ttgctl, server, run_id):
        arguments = ttgctl.demo(
            broker_url=server.url, name=run_id, parameters_total=100, chunk_size=1, work_ms=5,
            fault_rate=0.2, max_attempts=10, retry_delay_ms=100,
        )  # fmt: skip
        verdict = lossless(ttgctl(*arguments), chunks=100)
        assert verdict["chunks"]["retried"] > 5

    def test_gives_up_what_fails_each_time_and_finishes_the_rest(self, ttgctl, server, run_id):
        (ttgctl.home / "work.py").write_text(
            "def f(row):\n"
            "    if row['x'] == 3:\n"
            "        raise ValueError('three is right out')\n"
            "    return row['x'] * 2\n"
        )
        (ttgctl.home / "sweep.yaml").write_text("parameters:\n  x: {range: [0, 6]}\n")
        done = ttgctl(
            "run", "--workload", "work.py:f", "--parameters", "sweep.yaml", "--chunk-size", "1",
            "--name", run_id, "--substrate", "local", "--broker-url", server.url, "--retry-delay-ms", "50",
            "--out", "results.csv", "--output", "json",
        )  # fmt: skip
        assert done.code == 8, done.err
        verdict = done.verdict
        assert (verdict["lossless"], verdict["complete"]) == (False, True)
        assert verdict["dead_lettered_chunks"] == [3]
        assert verdict["dead_letter_causes"] == {"failed": 1}
        account = verdict["chunks"]
        assert (account["ok"], account["dead_lettered"], account["lost"]) == (5, 1, 0)
        assert account["retried"] == 2
        with (ttgctl.home / "results.csv").open(newline="") as table:
            rows = list(csv.DictReader(table))
        assert [row["value"] for row in rows] == ["0", "2", "4", "", "8", "10"]
        assert [row["attempts"] for row in rows] == ["1", "1", "1", "3", "1", "1"]
        assert [row["x"] for row in rows if row["error"]] == ["3"]
        assert "three is right out" in rows[3]["error"]
        spec = ttgctl.folder(run_id).read_spec()
        with closing(Ledger(ttgctl.folder(run_id).ledger, spec)) as ledger:
            ((letter, _),) = ledger.dead_letters()
        (error,) = letter.message.errors
        assert error.offsets == (0,)
        assert "three is right out" in error.text
        assert 'work.py", line 3, in f' in error.text
        assert len(letter.message.chunk.history) == 2


class TestRunsOnABrokerOfOthers:
    def test_drop_their_queues_and_no_others_when_all_went_well(self, ttgctl, server, run_id, until):
        other = f"{run_id}-other"
        long = ttgctl.start(
            *ttgctl.demo(broker_url=server.url, name=other, parameters_total=400, chunk_size=1, work_ms=400)
        )
        until(lambda: ttgctl.accounted(other) > 0)
        arguments = ttgctl.demo(
            "--fault-demo", broker_url=server.url, name=run_id, parameters_total=20, chunk_size=1,
            work_ms=50, lease_ms=500,
        )  # fmt: skip
        lossless(ttgctl(*arguments), chunks=20)
        assert not server.holds(run_id)
        assert server.holds(other)
        assert not ttgctl.folder(run_id).broker_url.exists()
        before = ttgctl.accounted(other)
        until(lambda: ttgctl.accounted(other) > before)
        long.send(signal.SIGINT)
        assert long.wait().code == 130
        assert ttgctl("cleanup", other, "--force").code == 0
        assert not server.holds(other)

    def test_keep_their_queues_until_cleanup_when_not_complete(self, ttgctl, server, run_id):
        arguments = ttgctl.demo(
            broker_url=server.url, name=run_id, parameters_total=20, chunk_size=1, work_ms=1000, timeout=1.5
        )
        assert ttgctl(*arguments).code == 6
        assert server.holds(run_id)
        listed = ttgctl("cleanup", run_id, "--dry-run")
        assert f"ttg.* of {run_id}" in listed.out
        assert server.holds(run_id)
        removed = ttgctl("cleanup", run_id, "--force")
        assert removed.code == 0, removed.err
        assert not server.holds(run_id)
        again = ttgctl("cleanup", run_id, "--force")
        assert again.code == 0, again.err

    @pytest.mark.case("C28")
    def test_put_what_is_no_chunk_of_theirs_into_the_dlq(self, ttgctl, server, run_id, until):
        running = ttgctl.start(
            *ttgctl.demo(broker_url=server.url, name=run_id, parameters_total=30, chunk_size=1, work_ms=200)
        )
        until(lambda: ttgctl.accounted(run_id) > 0)
        garbage = [
            b"\xff\x00 garbage",
            b'{"run_id": "%s", "chunk_id": 1, "start": 1, "stop": 2, "colour": "red"}' % run_id.encode(),
            b'{"run_id": "another", "chunk_id": 2, "start": 2, "stop": 3}',
        ]
        for body in garbage:
            server.put_raw(run_id, body)
        verdict = running.wait().verdict
        assert verdict["chunks"]["ok"] == 30
        assert verdict["chunks"]["dead_lettered"] == 0
        assert verdict["dead_letter_causes"] == {"malformed": 2, "foreign-run": 1}
        assert verdict["lossless"] is True


class TestABrokerThatGoesAway:
    def test_killed_while_the_run_goes_is_started_again(self, ttgctl, backend, until):
        running = ttgctl.start(
            *ttgctl.demo(
                backend=backend, name="r", parameters_total=60, chunk_size=1, work_ms=150, lease_ms=500
            )
        )
        until(lambda: ttgctl.published("r") and ttgctl.accounted("r") > 3)
        for process in ttgctl.processes("r"):
            if process.name == BROKER:
                processes.send(process, signal.SIGKILL)
        lossless(running.wait(), chunks=60)
        notices = ttgctl.notices("r")
        assert [n for n in notices if "does not answer" in n]
        assert [n for n in notices if n.startswith("the broker is back after")]

    def test_for_long_and_back_with_its_data_loses_nothing(self, ttgctl, own_server, until):
        running = ttgctl.start(
            *ttgctl.demo(broker_url=own_server.url, name="r", parameters_total=60, chunk_size=1, work_ms=150)
        )
        until(lambda: ttgctl.published("r") and ttgctl.accounted("r") > 3)
        own_server.kill()
        away = time.monotonic()
        until(lambda: any("does not answer" in n for n in ttgctl.notices("r")), within_seconds=10)
        until(lambda: time.monotonic() - away > AWAY_SECONDS)
        own_server.start()
        verdict = lossless(running.wait(), chunks=60)
        assert verdict["seconds"] > AWAY_SECONDS
        logs = "".join(path.read_text() for path in ttgctl.folder("r").logs.glob("worker-*.log"))
        assert "does not answer" in logs or "away" in logs or "lost" in logs


def test_ten_runs_with_random_kills_lose_nothing(ttgctl, server, run_id):
    """Several at a time, so that they could disturb each other as well."""

    def run(seed: int) -> tuple[int, Any]:
        arguments = ttgctl.demo(
            broker_url=server.url, name=f"{run_id}-{seed}", parameters_total=40, chunk_size=1, work_ms=150,
            seed=seed, lease_ms=500, fault="kill-worker every=0.5s jitter=0.5s times=4",
        )  # fmt: skip
        return seed, ttgctl(*arguments)

    with ThreadPoolExecutor(4) as pool:
        for seed, done in pool.map(run, range(1, 11)):
            verdict = lossless(done, chunks=40)
            assert [fault for fault in verdict["faults"] if fault["victim"] is not None], f"seed {seed}"
            assert not server.holds(f"{run_id}-{seed}")
