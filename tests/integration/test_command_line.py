"""The command as its users meet it: what it says, with which exit code, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from ttgctl.cli.app import _run
from ttgctl.core.records.event_log import decode_event
from ttgctl.domain.events import Finished, Progress, Started
from ttgctl.substrates.local import rabbitmq_server

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
SMALL = {"parameters_total": 12, "chunk_size": 2, "work_ms": 20}


@pytest.fixture
def redis(shared_servers) -> object:
    """For what is the same on each backend."""
    return shared_servers("redis")


def closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def one_line(done, *, code: int) -> str:
    """What it said, which is one clear line with that exit code and nothing on stdout."""
    assert done.code == code, done.err
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if not line.startswith(("substrate:", "backend:"))]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.err
    return lines[0]


class TestWhatCanNotWork:
    """Ends at once, with nothing started and nothing left."""

    @pytest.fixture(autouse=True)
    def _nothing_is_left(self, ttgctl):
        yield
        assert ttgctl.processes() == []
        runs = ttgctl.state / "runs"
        assert not runs.exists() or list(runs.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["demo", "--no-such-option"], "--no-such-option"),
            (["no-such-command"], "no-such-command"),
            (["demo", "--name", "Not A Name"], "run name 'Not A Name'"),
            (["demo", "--name", "-x-"], "run name '-x-'"),
            (["demo", "--workers", "0"], "--workers"),
            (["demo", "--parameters-total", "many"], "--parameters-total"),
            (["demo", "--fault-rate", "2"], "--fault-rate"),
            (["demo", "--timeout", "-1"], "timeout"),
            (["demo", "--timeout", "nan"], "timeout"),
            (["demo", "--work-ms", "nan"], "work"),
            (["demo", "--work-ms", "inf"], "work"),
            (["demo", "--lease-ms", "nan"], "lease"),
            (["demo", "--fault", "kill-everything"], "kill-everything"),
            (["demo", "--fault", "kill-worker at=often"], "often"),
            (["demo", "--faults", "no-such-plan.yaml"], "no-such-plan.yaml"),
            (["demo", "--backend", "kafka"], "kafka"),
            (["demo", "--broker-url", "http://127.0.0.1"], "http"),
            (["demo", "--broker-url", "memory://x"], "memory"),
            (["demo", "--backend", "redis", "--broker-url", "amqp://127.0.0.1"], "--broker-url"),
            (["resume"], "no run on this machine"),
            (["resume", "no-such-run"], "no-such-run"),
            (["verify", "no-such-run"], "no-such-run"),
            (["monitor", "no-such-run"], "no-such-run"),
            (["cleanup", "no-such-run"], "no-such-run"),
        ],
    )
    def test_of_the_command_line_is_told(self, ttgctl, arguments, said):
        if arguments[0] == "demo":
            arguments = [*arguments, "--substrate", "local"]
        done = ttgctl(*arguments)
        assert done.code == 2, done.err
        assert said in done.err
        assert done.out == ""
        assert "Traceback" not in done.err

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("sweep.yaml", "parameters: [unclosed"),
            ("sweep.yaml", "\x00\x01\x02"),
            ("sweep.yaml", ""),
            ("sweep.csv", ""),
            ("sweep.jsonl", '{"x": 1}\nnot json\n'),
            ("sweep.txt", "x"),
        ],
    )
    def test_of_the_parameter_file_is_told(self, ttgctl, name, text):
        (ttgctl.home / "work.py").write_text("def f(x):\n    return x\n")
        (ttgctl.home / name).write_text(text)
        arguments = ["run", "--workload", "work.py:f", "--parameters", name, "--substrate", "local"]
        assert name in one_line(ttgctl(*arguments), code=2)

    @pytest.mark.parametrize(
        ("source", "workload", "said"),
        [
            ("def f(x): return x", "work.py:g", "no function 'g'"),
            ("import no_such_thing", "work.py:f", "no_such_thing"),
            ("def f(x:", "work.py:f", "SyntaxError"),
            ("raise SystemExit(0)", "work.py:f", "SystemExit"),
            ("f = 3", "work.py:f", "not a function"),
            ("", "nowhere.py:f", "nowhere.py"),
            (f"text = '{'#' * 1_000_000}'\ndef f(x): return x", "work.py:f", "bytes and may have 1,000,000"),
            ("", "f", "FILE.py:FUNCTION"),
        ],
    )
    def test_of_the_workload_is_told(self, ttgctl, source, workload, said):
        (ttgctl.home / "work.py").write_text(source + "\n")
        (ttgctl.home / "sweep.csv").write_text("x\n1\n")
        arguments = ["run", "--workload", workload, "--parameters", "sweep.csv", "--substrate", "local"]
        assert said in one_line(ttgctl(*arguments), code=2)

    def test_of_the_results_file_is_told(self, ttgctl):
        (ttgctl.home / "work.py").write_text("def f(x):\n    return x\n")
        (ttgctl.home / "sweep.csv").write_text("x\n1\n")
        for out in ("nowhere/out.csv", "out.xlsx"):
            arguments = ["--workload", "work.py:f", "--parameters", "sweep.csv", "--substrate", "local"]
            assert out in one_line(ttgctl("run", *arguments, "--out", out), code=2)

    @pytest.mark.parametrize("scheme", ["redis", "amqp"])
    def test_without_the_broker_that_was_named_is_told(self, ttgctl, scheme):
        port = closed_port()
        done = ttgctl(*ttgctl.demo(broker_url=f"{scheme}://user:s3cret@127.0.0.1:{port}"))
        line = one_line(done, code=5)
        assert str(port) in line
        assert "s3cret" not in line

    def test_with_a_wrong_password_is_told(self, ttgctl, server):
        scheme, _, rest = server.url.partition("://")
        user, place = rest.partition(":")[0], rest.rpartition("@")[2]
        done = ttgctl(*ttgctl.demo(broker_url=f"{scheme}://{user}:wrong-s3cret@{place}"))
        assert "wrong-s3cret" not in one_line(done, code=5)

    def test_without_rabbitmq_is_told_and_how_to_get_it(self, ttgctl, monkeypatch, capsys):
        """In this process, since where it is installed it can only be hidden from that."""
        monkeypatch.setattr(rabbitmq_server, "_server_script", lambda: None)
        assert _run(ttgctl.demo(backend="rabbitmq")) == 3
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        assert "install rabbitmq" in line
        assert "--backend redis" in line


@pytest.mark.server
class TestOutput:
    def test_json_is_the_verdict_alone(self, ttgctl, redis, run_id):
        done = ttgctl(*ttgctl.demo("--monitor", "none", broker_url=redis.url, name=run_id, **SMALL))
        assert done.code == 0, done.err
        verdict = done.verdict
        assert list(verdict)[:3] == ["run_id", "backend", "substrate"]
        assert set(verdict["chunks"]) == {
            "attempted", "acknowledged", "ok", "lost", "duplicated", "recovered", "conflicting",
            "unexpected", "retried", "dead_lettered",
        }  # fmt: skip
        assert verdict["chunks"]["ok"] == 6

    def test_ndjson_is_the_stream_of_events(self, ttgctl, redis, run_id):
        done = ttgctl(*ttgctl.demo(broker_url=redis.url, name=run_id, output="ndjson", **SMALL))
        assert done.code == 0, done.err
        events = [decode_event(line.encode()) for line in done.out.splitlines()]
        assert isinstance(events[0], Started)
        assert isinstance(events[-1], Finished)
        assert any(isinstance(event, Progress) for event in events)
        assert events == ttgctl.events(run_id)

    def test_off_a_terminal_there_are_no_control_characters(self, ttgctl, redis, run_id):
        done = ttgctl(
            *ttgctl.demo(
                "--fault-demo", broker_url=redis.url, name=run_id, output="text", lease_ms=500, **SMALL
            )
        )
        assert done.code in (0, 4), done.err
        assert "LOSSLESS" in done.out
        assert not CONTROL_CHARACTERS.search(done.out + done.err)
        for command in (
            ["runs"],
            ["verify", run_id],
            ["monitor", run_id],
            ["cleanup", "--dry-run"],
            ["--help"],
        ):
            said = ttgctl(*command)
            assert not CONTROL_CHARACTERS.search(said.out + said.err), command

    def test_that_nobody_reads_ends_the_run_and_leaves_nothing_running(self, ttgctl, redis, run_id):
        reader, writer = os.pipe()
        arguments = ttgctl.demo(broker_url=redis.url, name=run_id, output="ndjson", parameters_total=500)
        command = subprocess.Popen([ttgctl.program, *arguments], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        with os.fdopen(reader) as lines:
            assert '"started"' in lines.readline()
        _, said = command.communicate(timeout=30)
        assert b"Traceback" not in said
        assert ttgctl.processes() == []
        assert redis.holds(run_id)
        assert ttgctl("cleanup", "--all", "--force").code == 0

    @pytest.mark.parametrize("arguments", [["--help"], ["runs"], ["runs", "--output", "json"]])
    def test_ends_in_peace_when_its_reader_had_enough(self, ttgctl, arguments):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [ttgctl.program, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writer)
        assert done.stderr == ""
        assert done.returncode in (0, 1)


@pytest.mark.server
class TestWatching:
    def test_several_at_once_see_the_run_and_end_with_its_code(self, ttgctl, redis, run_id, until):
        running = ttgctl.start(
            *ttgctl.demo(
                "--fault-demo", broker_url=redis.url, name=run_id,
                parameters_total=20, chunk_size=1, work_ms=300, lease_ms=500,
            )
        )  # fmt: skip
        until(lambda: ttgctl.accounted(run_id) > 0)
        plain = ttgctl.start("monitor", run_id)
        stream = ttgctl.start("monitor", run_id, "--output", "ndjson")
        newest = ttgctl.start("monitor")
        listed = json.loads(ttgctl("runs", "--output", "json").out)
        assert [(row["run_id"], row["state"]) for row in listed] == [(run_id, "running")]
        assert running.wait().code == 0
        assert plain.wait(within_seconds=10).code == 0
        assert "LOSSLESS" in plain.out
        assert stream.wait(within_seconds=10).code == 0
        assert [decode_event(line.encode()) for line in stream.out.splitlines()] == ttgctl.events(run_id)
        assert newest.wait(within_seconds=10).code == 0
        assert "kill-worker" in plain.err

    def test_ends_when_the_command_it_watches_is_killed(self, ttgctl, redis, run_id, until):
        running = ttgctl.start(
            *ttgctl.demo(broker_url=redis.url, name=run_id, parameters_total=20, chunk_size=1, work_ms=300)
        )
        until(lambda: ttgctl.accounted(run_id) > 0)
        watching = ttgctl.start("monitor", run_id)
        running.send(signal.SIGKILL)
        done = watching.wait(within_seconds=10)
        assert done.code == 130
        assert f"ttgctl resume {run_id}" in done.err
        listed = json.loads(ttgctl("runs", "--output", "json").out)
        assert listed[0]["state"] == "abandoned"


@pytest.mark.server
class TestVerify:
    def test_after_success_judges_by_the_ledger(self, ttgctl, redis, run_id):
        first = ttgctl(*ttgctl.demo(broker_url=redis.url, name=run_id, **SMALL))
        again = ttgctl("verify", run_id, "--output", "json")
        assert again.code == 0, again.err
        assert again.verdict["chunks"] == first.verdict["chunks"]
        assert again.verdict["checksum"] == first.verdict["checksum_expected"]
        assert "the broker is gone" in again.verdict["notes"][0]
        assert ttgctl.processes() == []

    def test_after_keep_reads_the_broker_again(self, ttgctl, backend):
        first = ttgctl(*ttgctl.demo("--keep", backend=backend, name="r", **SMALL))
        assert first.code == 0, first.err
        assert ttgctl.processes("r")
        again = ttgctl("verify", "r", "--output", "json")
        assert again.code == 0, again.err
        assert again.verdict["chunks"] == first.verdict["chunks"]
        assert again.verdict["checksum"] == first.verdict["checksum"]
        assert again.verdict["queues_after"] == first.verdict["queues_after"]
        assert "read again from the broker" in again.verdict["notes"][0]
        assert "agrees" in again.verdict["notes"][-1]
        assert ttgctl("cleanup", "r", "--force").code == 0
        assert ttgctl.processes() == []

    def test_finds_a_ledger_that_was_changed(self, ttgctl, redis, run_id):
        assert ttgctl(*ttgctl.demo(broker_url=redis.url, name=run_id, **SMALL)).code == 0
        with sqlite3.connect(ttgctl.folder(run_id).ledger) as ledger:
            ledger.execute("UPDATE results SET digest = 'x' WHERE chunk_id = 2")
        ledger.close()
        changed = ttgctl("verify", run_id, "--output", "json")
        assert changed.code == 7, changed.err
        with sqlite3.connect(ttgctl.folder(run_id).ledger) as ledger:
            ledger.execute("DELETE FROM results WHERE chunk_id = 2")
        ledger.close()
        missing = ttgctl("verify", run_id, "--output", "json")
        assert missing.code == 7, missing.err
        assert missing.verdict["lost_chunks"] == [2]

    def test_while_a_run_goes_or_was_interrupted_says_what_is_outstanding(self, ttgctl, redis, run_id, until):
        running = ttgctl.start(
            *ttgctl.demo(broker_url=redis.url, name=run_id, parameters_total=180, chunk_size=1, work_ms=200)
        )
        until(lambda: ttgctl.accounted(run_id) > 0)
        seen = ttgctl("verify", run_id, "--output", "json")
        assert seen.code == 6, seen.err
        assert (seen.verdict["complete"], seen.verdict["lost_chunks"]) == (False, [])
        running.send(signal.SIGINT)
        assert running.wait().code == 130
        seen = ttgctl("verify", run_id, "--output", "json")
        assert seen.code == 6, seen.err
        assert (seen.verdict["complete"], seen.verdict["lost_chunks"]) == (False, [])
        assert ttgctl("resume", run_id).code == 0

    def test_of_an_interrupted_run_leaves_its_broker_as_it_was(self, ttgctl, until):
        running = ttgctl.start(
            *ttgctl.demo(backend="redis", name="r", parameters_total=60, chunk_size=1, work_ms=200)
        )
        until(lambda: ttgctl.accounted("r") > 0)
        running.send(signal.SIGINT)
        assert running.wait().code == 130
        seen = ttgctl("verify", "r", "--output", "json")
        assert seen.code == 6, seen.err
        assert 0 < seen.verdict["chunks"]["ok"] < 60
        assert "read again from the broker" in seen.verdict["notes"][0]
        assert ttgctl.processes("r") == []


@pytest.mark.server
def test_a_password_is_told_to_nobody(ttgctl, backend, until):
    running = ttgctl.start(
        *ttgctl.demo(
            "--fault-demo",
            backend=backend,
            name="r",
            parameters_total=30,
            work_ms=150,
            chunk_size=1,
            lease_ms=500,
        )
    )
    until(lambda: ttgctl.accounted("r") > 0)
    password = broker_password(ttgctl.folder("r").local)
    for process in ttgctl.processes("r"):
        assert password not in " ".join(psutil.Process(process.pid).cmdline())
    assert running.wait().code == 0
    for command in (["runs"], ["verify", "r"], ["monitor", "r"], ["monitor", "r", "--output", "ndjson"]):
        said = ttgctl(*command)
        assert password not in said.out + said.err, command
    assert password not in running.out + running.err
    for path in ttgctl.folder("r").path.rglob("*"):
        assert not path.is_file() or password.encode() not in path.read_bytes(), path


def broker_password(local: Path) -> str:
    """Of the broker that runs now, from where the broker itself has it."""
    for path in local.rglob("*"):
        if path.is_file() and path.name in ("redis.conf", "identity.json"):
            found = re.search(r'requirepass (\S+)|"password":"([^"]+)"', path.read_text())
            if found:
                return found[1] or found[2]
    raise AssertionError(f"no password below {local}")


@pytest.mark.server
def test_the_password_of_a_broker_of_others_is_in_one_private_file_alone(ttgctl, server, run_id, monkeypatch):
    monkeypatch.setenv("TTGCTL_BROKER_URL", server.url)
    password = server.url.rpartition("@")[0].rpartition(":")[2]
    done = ttgctl(*ttgctl.demo("--keep", name=run_id, **SMALL))
    assert done.code == 0, done.err
    for command in (["runs"], ["verify", run_id], ["cleanup", run_id, "--dry-run"]):
        done = ttgctl(*command)
        assert password not in done.out + done.err, command
    folder = ttgctl.folder(run_id)
    holding = [p for p in folder.path.rglob("*") if p.is_file() and password.encode() in p.read_bytes()]
    assert holding == [folder.broker_url]
    assert folder.broker_url.stat().st_mode & 0o077 == 0
    assert ttgctl("cleanup", run_id, "--force").code == 0
    assert not folder.broker_url.exists()
