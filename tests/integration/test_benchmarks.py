"""``make bench``: that all contenders are measured, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def bench(*arguments: str) -> dict:
    argv = [sys.executable, "-m", "benchmarks", "--repeat", "1", "--output", "json", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_sets_our_workers_beside_the_raw_client(backend, leftovers):
    only = ["--only", "ttgctl", "--only", "ceiling", "--backend", backend]
    report = bench(*only, "--chunks", "2000", "--workers", "1")
    raw, own = report["throughput"]
    assert (raw["what"], raw["workers"], raw["of_ceiling"]) == ("raw client", None, 1.0)
    assert (own["what"], own["workers"], own["backend"]) == ("ttgctl", 1, backend)
    assert own["of_ceiling"] == pytest.approx(own["chunks_per_second"] / raw["chunks_per_second"])
    assert len(report["aims"]) == 1
    assert leftovers() == []


@pytest.mark.server
def test_measures_celery_and_dramatiq_time_and_again(leftovers):
    only = ["--only", "celery", "--only", "dramatiq"]
    report = bench(*only, "--chunks", "3000", "--workers", "1", "--repeat", "2")
    rows = {row["what"]: row for row in report["throughput"]}
    assert set(rows) == {"Celery", "Dramatiq"}
    assert all(row["chunks"] == 300 and len(row["rates"]) == 2 for row in rows.values())
    assert all(rate > 0 for row in rows.values() for rate in row["rates"])
    assert leftovers() == []


def test_costs_of_the_command_are_set_beside_their_aims(leftovers):
    aims = {aim["what"]: aim for aim in bench("--only", "commands")["aims"]}
    assert 0 < aims["ttgctl --help"]["measured"] < 60
    assert 0 < aims["command to first chunk in a worker, embedded server"]["measured"] < 60
    assert leftovers() == []
