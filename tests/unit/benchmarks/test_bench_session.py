"""What the benchmark command does with what is missing, and how its table reads."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from benchmarks import session
from benchmarks.contenders import CEILING, CELERY, OWN, Contender
from benchmarks.session import Plan, carry_out
from benchmarks.table import Report, report_json, report_table
from benchmarks.throughput import Aim, compared
from ttgctl.core.ports import MissingRequirement


def plan(**changes) -> Plan:
    values = {
        "whats": [OWN, CELERY],
        "backends": ["rabbitmq"],
        "workers": [1],
        "chunks": 1000,
        "repeat": 1,
        "commands": False,
        "runs": False,
        "insisted": False,
    }
    return Plan(**{**values, **changes})


@pytest.fixture
def bare_machine(monkeypatch):
    """Neither brokers nor Celery; whatever was started all the same would fail the test."""
    monkeypatch.setattr(session, "missing", lambda backend: f"no {backend} here: apt install it")
    monkeypatch.setattr(session, "installed", lambda what: what != CELERY)


@pytest.mark.usefixtures("bare_machine")
def test_what_is_missing_is_left_out_and_said():
    report = carry_out(plan(), say=lambda line: None)
    assert report.throughput == []
    assert report.notes == [
        "Celery is not measured: pip install 'ttgctl[dev]'",
        "rabbitmq is not measured: no rabbitmq here: apt install it",
    ]


@pytest.mark.usefixtures("bare_machine")
def test_what_is_missing_is_an_error_where_it_was_asked_for():
    with pytest.raises(MissingRequirement, match=r"ttgctl\[dev\].*apt install"):
        carry_out(plan(insisted=True), say=lambda line: None)


def report() -> Report:
    def contender(what, workers):
        return Contender(what=what, backend="rabbitmq", workers=workers, chunks=10, drain=lambda: 1.0)

    rows = compared([(contender(CEILING, None), [20_000.0]), (contender(OWN, 1), [18_000.0, 14_000.0])])
    aims = [
        Aim(what="share", measured=0.799, wanted=0.8, unit="share", least=True),
        Aim(what="help", measured=0.06, wanted=0.2, unit="s", least=False),
    ]
    return Report(repeat=2, throughput=rows, aims=aims, notes=["Celery is not measured"])


def test_the_table_shows_rates_shares_and_whether_aims_are_met():
    stream = io.StringIO()
    Console(file=stream, width=120, color_system=None).print(report_table(report()))
    lines = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "raw client rabbitmq - 20,000 100 % - -" in lines
    assert "ttgctl rabbitmq 1 16,000 14,000-18,000 80 % - -" in lines
    assert "help at most 0.20 s 0.06 s yes" in lines
    assert lines[-1] == "Celery is not measured"


def test_the_table_never_rounds_up_to_an_aim():
    stream = io.StringIO()
    Console(file=stream, width=120, color_system=None).print(report_table(report()))
    assert "at least 80 % 79 % no" in " ".join(stream.getvalue().split())


def test_the_json_has_every_measurement_and_no_secret():
    document = json.loads(report_json(report()))
    assert document["throughput"][1]["rates"] == [18_000.0, 14_000.0]
    assert [aim["met"] for aim in document["aims"]] == [False, True]
    assert document["machine"]["cpus"] > 0
