"""The matrix of backends and faults through the installed command, its table, report and exit code."""

from __future__ import annotations

import msgspec
import pytest

from ttgctl.cli.app import _run
from ttgctl.substrates.local import rabbitmq_server
from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer
from ttgctl.substrates.local.redis_server import RedisServer

SIZE = ("--parameters-total", "30", "--chunk-size", "1", "--work-ms", "250", "--lease-ms", "1000")
FAULT = ("--fault", "kill-worker at=20% count=1")


def compare(ttgctl, *arguments):
    return ttgctl("compare", "--substrate", "local", *SIZE, *arguments, within_seconds=110)


@pytest.mark.server
def test_queues_lose_nothing_and_fixed_shares_are_seen_to(ttgctl, tmp_path, require):
    for server in (RedisServer, RabbitMQServer):
        require(server.problem())
    out = tmp_path / "status.md"
    done = compare(ttgctl, "--output", "json", "--out", str(out), "--name", "cmp", *FAULT)
    assert done.code == 0, done.err
    cells = {(cell["backend"], cell["faulted"]): cell for cell in msgspec.json.decode(done.out)}
    assert list(cells) == [
        (backend, faulted) for backend in ("static", "redis", "rabbitmq") for faulted in (False, True)
    ]
    for (backend, faulted), cell in cells.items():
        assert cell["runs"] == 1
        assert cell["attempted"] == 30
        assert (cell["lost"] > 0) == (backend == "static" and faulted)
        assert (cell["lossless"] == 1) == (cell["lost"] == 0)
    for backend in ("redis", "rabbitmq"):
        assert cells[backend, True]["queues_after"]["ttg.tasks"] == 0
        assert cells[backend, True]["recovery_seconds"] > 0
    assert "static: lost" in done.err
    assert "rabbitmq: lost nothing in 2 runs" in done.err
    assert "static" in out.read_text()
    assert ttgctl.processes() == []
    assert len(list((ttgctl.state / "runs").iterdir())) == 6


def test_a_faults_that_hit_nothing_proves_nothing(ttgctl):
    done = compare(
        ttgctl, "--backends", "static", "--fault", "kill-worker at=500s", "--output", "text", "--repeat", "2"
    )
    assert done.code == 7, done.err
    assert "NOT seen to lose" in done.err
    assert "hit nothing" in done.err
    assert "THROUGHPUT" in done.out
    assert "medians" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backends", "static,kafka"], "kafka"),
        (["--backend", "redis"], "--backends"),
        (["--out", "report.pdf"], ".docx"),
        (["--out", "nowhere/report.md"], "no folder"),
        (["--fault", "kill-everyone"], "kill-everyone"),
    ],
)
def test_bad_input_starts_nothing(ttgctl, arguments, said):
    done = compare(ttgctl, *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (ttgctl.state / "runs").exists()


def test_a_backend_that_can_not_run_is_said_before_anything_runs(ttgctl, monkeypatch, capsys):
    """In this process, since where it is installed it can only be hidden from that."""
    monkeypatch.setattr(rabbitmq_server, "_server_script", lambda: None)
    assert _run(["compare", "--substrate", "local", *SIZE]) == 3
    assert "--backends static,redis" in capsys.readouterr().err
    assert not (ttgctl.state / "runs").exists()
