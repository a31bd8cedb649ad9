"""What `ttgctl bench` asks for and shows; nothing is measured here."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from ttgctl.cli.app import _run
from ttgctl.core.ports import MissingRequirement
from ttgctl.domain.drain_rate import DrainRate
from ttgctl.drain_rate import session
from ttgctl.drain_rate.session import Plan, measure
from ttgctl.ui.views.drain_rates import drain_rates_json, drain_rates_table

RATES = [DrainRate(backend="redis", workers=2, chunks=1000, rates=(30_000.0, 10_000.0, 20_000.0))]


@pytest.mark.parametrize("text", ["", "0", "1,,2", "one", "2;4"])
def test_numbers_of_workers_that_are_none_are_refused(text, capsys):
    assert _run(["bench", "--workers", text]) == 2
    assert "expected numbers of 1 or more" in capsys.readouterr().err


def test_no_server_at_all_is_an_error_that_names_each(monkeypatch):
    monkeypatch.setattr(session, "missing", lambda backend: f"no {backend} here: apt install it")
    plan = Plan(backend=None, broker_url=None, workers=[1], chunks=1000, repeat=1)
    with pytest.raises(MissingRequirement, match=r"rabbitmq is not measured.*redis is not measured"):
        measure(plan, say=lambda line: None)


def test_the_median_counts_and_the_spread_is_shown():
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(drain_rates_table(RATES))
    assert "redis 2 20,000 10,000-30,000" in " ".join(stream.getvalue().split())


def test_the_json_has_every_measurement():
    (rate,) = json.loads(drain_rates_json(RATES))["rates"]
    assert rate == {
        "backend": "redis",
        "workers": 2,
        "chunks": 1000,
        "rates": [30_000.0, 10_000.0, 20_000.0],
        "chunks_per_second": 20_000.0,
    }
