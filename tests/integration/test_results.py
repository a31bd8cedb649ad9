"""Results belong to the run: written by whichever command is there, also years later."""

from __future__ import annotations

import csv
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

FUNCTION = """
import time
from pathlib import Path

def square(row):
    with Path("{calls}").open("a") as calls:
        calls.write("x")
    time.sleep({slow} if row["x"] == 4 and {slow} else {seconds})
    if row["x"] in {bad}:
        raise ValueError("not this one")
    return row["x"] ** 2
"""


@pytest.fixture
def sweep(ttgctl):
    """The words of a run of a function that squares, with all that it needs beside it."""

    def words(
        run_id: str,
        *options: str,
        count: int = 12,
        seconds: float = 0.0,
        slow: float = 0.0,
        bad: tuple[int, ...] = (),
    ) -> list[str]:
        Path("work.py").write_text(
            FUNCTION.format(calls=ttgctl.home / "calls", seconds=seconds, slow=slow, bad=bad),
            encoding="utf-8",
        )
        Path("p.yaml").write_text(f"parameters: {{x: {{range: [{count}]}}}}\n")
        return [
            "run", "--workload", "work.py:square", "--parameters", "p.yaml", "--substrate", "local", "--name",
            run_id, "--retry-delay-ms", "50", "-o", "json", *options,
        ]  # fmt: skip

    return words


def table(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def calls(ttgctl) -> int:
    path = ttgctl.home / "calls"
    count = len(path.read_text()) if path.exists() else 0
    path.unlink(missing_ok=True)
    return count


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that holds 16 KiB."""
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.case("C22")
def test_what_an_interrupt_left_the_resume_writes(ttgctl, backend, sweep, until):
    running = ttgctl.start(
        *sweep("n", "--backend", backend, "--out", "x.csv", "--chunk-size", "1", seconds=0.3, count=24)
    )
    until(lambda: ttgctl.accounted("n") >= 3)
    running.send(signal.SIGINT)
    stopped = running.wait()
    assert stopped.code == 130
    assert "results so far: " in stopped.err
    assert not Path("x.csv").exists()
    so_far = table("x.csv.partial")
    assert len(so_far) == 24
    assert 0 < sum(bool(row["value"]) for row in so_far) < 24
    assert {row["error"] for row in so_far if not row["value"]} == {"no value (lost, or not computed yet)"}

    # While it is not complete, what there is can be had from the ledger alone.
    refused = ttgctl("results", "n")
    assert refused.code == 6
    assert "--partial" in refused.err
    shown = ttgctl("results", "n", "--partial")
    assert shown.code == 0
    assert len(shown.out.splitlines()) == 25

    resumed = ttgctl("resume", "n", "-o", "json")
    assert resumed.code == 0, resumed.err
    assert [row["value"] for row in table("x.csv")] == [str(x * x) for x in range(24)]
    assert not Path("x.csv.partial").exists()
    assert ttgctl("results", "n").out.splitlines() == Path("x.csv").read_text().splitlines()


@pytest.mark.case("C23")
def test_a_full_disk_costs_the_file_and_not_the_verdict(ttgctl, sweep, full_disk):
    """Also where it is full before a single row is there."""
    (full_disk / "filler").write_bytes(b"x" * 12 * 1024)
    done = ttgctl(*sweep("n", "--backend", "redis", "--out", str(full_disk / "o.csv"), count=2000))
    assert done.code == 0, done.err
    assert done.verdict["lossless"] is True
    assert "No space left on device" in done.err
    assert "ttgctl results n --out ELSEWHERE" in done.err
    assert [path.name for path in full_disk.iterdir()] == ["filler"]
    assert ttgctl("results", "n", "--out", "elsewhere.csv").code == 0
    assert [int(row["value"]) for row in table("elsewhere.csv")] == [x * x for x in range(2000)]


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(ttgctl, sweep):
    done = ttgctl(*sweep("n", "--backend", "redis", "--out", "no/such/folder/o.csv"))
    assert done.code == 2
    assert "no/such/folder" in done.err
    assert not ttgctl.folder("n").path.exists()


@pytest.mark.case("C24")
@pytest.mark.parametrize("out", ["p.csv", "./p.csv", "link.csv"])
def test_the_input_is_never_the_output(ttgctl, sweep, out):
    words = sweep("n", "--backend", "redis")
    Path("p.csv").write_text("x\n1\n2\n")
    Path("link.csv").symlink_to("p.csv")
    words[words.index("p.yaml")] = "p.csv"
    done = ttgctl(*words, "--out", out, "--overwrite")
    assert done.code == 2
    assert "--out" in done.err
    assert Path("p.csv").read_text() == "x\n1\n2\n"


def test_a_file_is_replaced_only_where_that_is_asked_for(ttgctl, sweep):
    words = sweep("n", "--backend", "redis", "--out", "o.csv")
    Path("o.csv").write_text("mine\n")
    refused = ttgctl(*words)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert Path("o.csv").read_text() == "mine\n"
    assert ttgctl(*words, "--overwrite").code == 0
    assert len(table("o.csv")) == 12
    again = ttgctl("results", "n", "--out", "other.csv")
    assert again.code == 0
    refused = ttgctl("results", "n", "--out", "other.csv")
    assert refused.code == 2
    assert "--overwrite" in refused.err


def test_some_rows_and_some_columns(ttgctl, backend, sweep):
    done = ttgctl(*sweep("n", "--backend", backend, "--max-attempts", "2", bad=(3, 5), slow=1.5))
    assert done.code == 8
    failed = ttgctl("results", "n", "--failed")
    assert failed.code == 0
    rows = list(csv.DictReader(failed.out.splitlines()))
    assert [(row["x"], row["attempts"]) for row in rows] == [("3", "2"), ("5", "2")]
    assert all(row["error"] == "ValueError: not this one" for row in rows)

    slowest = list(csv.DictReader(ttgctl("results", "n", "--slowest", "2").out.splitlines()))
    assert len(slowest) == 2
    assert slowest[0]["x"] == "4"
    assert float(slowest[0]["seconds"]) >= 1.5

    chosen = ttgctl("results", "n", "--columns", "index,value").out.splitlines()
    assert chosen[:3] == ["index,value", "0,0", "1,1"]
    unknown = ttgctl("results", "n", "--columns", "colour")
    assert unknown.code == 2
    assert "colour" in unknown.err


def test_while_it_runs(ttgctl, sweep, until):
    running = ttgctl.start(*sweep("n", "--backend", "redis", "--chunk-size", "1", seconds=0.3, count=20))
    until(lambda: ttgctl.accounted("n") >= 3)
    shown = ttgctl("results", "n", "--partial")
    assert shown.code == 0
    assert any(row["value"] for row in csv.DictReader(shown.out.splitlines()))
    assert running.wait().code == 0


def test_a_broker_that_is_gone_with_its_disk_is_no_loss(ttgctl, backend, sweep, until):
    running = ttgctl.start(*sweep("n", "--backend", backend, "--out", "o.csv", seconds=0.2, count=24))
    until(lambda: ttgctl.accounted("n") >= 3)
    running.send(signal.SIGKILL)
    running.wait()
    assert ttgctl("cleanup", "n", "--force").code == 0
    assert ttgctl.processes() == []
    resumed = ttgctl("resume", "n", "-o", "json")
    assert resumed.code == 0, resumed.err
    assert resumed.verdict["chunks"]["duplicated"] == 0
    assert any("published again" in note for note in resumed.verdict["notes"])
    assert [row["value"] for row in table("o.csv")] == [str(x * x) for x in range(24)]


def test_a_run_goes_on_at_another_broker(ttgctl, server, sweep, until, run_id):
    running = ttgctl.start(
        *sweep(run_id, "--backend", server.backend, "--out", "o.csv", seconds=0.2, count=24)
    )
    until(lambda: ttgctl.accounted(run_id) >= 3)
    running.send(signal.SIGINT)
    assert running.wait().code == 130
    wrong = "redis://127.0.0.1:1/0" if server.backend == "rabbitmq" else "amqp://127.0.0.1:1/"
    assert ttgctl("resume", run_id, "--broker-url", wrong).code == 2
    resumed = ttgctl("resume", run_id, "--broker-url", server.url, "--keep", "-o", "json")
    assert resumed.code == 0, resumed.err
    assert resumed.verdict["chunks"]["duplicated"] == 0
    assert [row["value"] for row in table("o.csv")] == [str(x * x) for x in range(24)]
    assert server.holds(run_id)
    # The broker has the second half alone, which is no reason to doubt the first.
    verified = ttgctl("verify", run_id, "-o", "json")
    assert verified.code == 0, verified.err
    assert ttgctl("cleanup", run_id, "--force").code == 0
    assert ttgctl.processes() == []
    assert not server.holds(run_id)


class TestReuse:
    def test_what_is_known_is_not_computed_again(self, ttgctl, backend, sweep):
        first = ttgctl(*sweep("a", "--backend", backend, "--max-attempts", "1", bad=(3,), count=10))
        assert (first.code, calls(ttgctl)) == (8, 10)
        # Twice as many, cut in another way; of those known one had failed.
        words = sweep(
            "b", "--backend", backend, "--reuse", "a", "--chunk-size", "4", "--max-attempts", "1", "--out",
            "o.csv", bad=(3,), count=20,
        )  # fmt: skip
        second = ttgctl(*words)
        assert (second.code, calls(ttgctl)) == (8, 11)
        assert second.verdict["reused"] == 9
        assert second.verdict["parameters"] == {"total": 20, "ok": 19, "failed": 1, "lost": 0}
        assert second.verdict["chunks"]["duplicated"] == 0
        assert [row["value"] for row in table("o.csv")] == ["" if x == 3 else str(x * x) for x in range(20)]

    def test_where_all_is_known_nothing_is_started(self, ttgctl, sweep):
        assert ttgctl(*sweep("a", "--backend", "redis", count=10)).code == 0
        words = sweep("b", "--backend", "redis", "--reuse", "auto", "--out", "o.csv", count=10)
        again = ttgctl(*words)
        assert (again.code, calls(ttgctl)) == (0, 10)
        assert again.verdict["reused"] == 10
        assert again.verdict["lossless"] is True
        assert "broker" not in again.err
        assert [row["value"] for row in table("o.csv")] == [str(x * x) for x in range(10)]

    def test_another_function_is_another_function(self, ttgctl, sweep):
        assert ttgctl(*sweep("a", "--backend", "redis", count=10)).code == 0
        refused = ttgctl(*sweep("b", "--backend", "redis", "--reuse", "a", bad=(1,)))
        assert refused.code == 2
        assert "--reuse a" in refused.err
        assert not ttgctl.folder("b").path.exists()
        calls(ttgctl)
        anew = ttgctl(*sweep("c", "--backend", "redis", "--reuse", "auto", seconds=0.001, count=10))
        assert (anew.code, calls(ttgctl)) == (0, 10)
        assert "no run on this machine has the same function files" in anew.err
        assert anew.verdict["reused"] == 0

    def test_a_command_killed_after_it_goes_on_without_what_was_known(self, ttgctl, backend, sweep, until):
        assert ttgctl(*sweep("a", "--backend", backend, seconds=0.2, count=10)).code == 0
        calls(ttgctl)
        words = sweep("b", "--backend", backend, "--reuse", "a", "--chunk-size", "1", seconds=0.2, count=30)
        running = ttgctl.start(*words)
        until(lambda: ttgctl.accounted("b") > 12)
        running.send(signal.SIGKILL)
        running.wait()
        resumed = ttgctl("resume", "b", "-o", "json")
        assert resumed.code == 0, resumed.err
        assert calls(ttgctl) == 20
        assert resumed.verdict["reused"] == 10


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--parameter-timeout", "soon"),
        ("--parameter-timeout", "-3s"),
        ("--parameter-memory", "lots"),
        ("--reuse", "no-such-run"),
    ],
)
def test_an_option_that_makes_no_sense_starts_nothing(ttgctl, sweep, option, value):
    done = ttgctl(*sweep("n", "--backend", "redis"), f"{option}={value}")
    assert done.code == 2
    assert value.removeprefix("-") in done.err
    assert not ttgctl.folder("n").path.exists()
