"""Whatever a user's function does, each parameter ends as ok or failed, with its own reason."""

from __future__ import annotations

import csv
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from support import zoo

ZOO = Path(zoo.__file__)


@pytest.fixture
def sweep(ttgctl, server, run_id):
    """Runs a function of the zoo over x = 0 … count - 1; the command when it has ended, and the rows."""

    def run(function: str, *options: str, count: int = 6, parameters: str | None = None):
        shutil.copy(ZOO, "zoo.py")
        Path("p.yaml").write_text(f"parameters: {{x: {{range: [{count}]}}}}\n")
        done = ttgctl(
            "run", "--substrate", "local", "--broker-url", server.url, "--name", run_id, "--workers", "2",
            "--workload", f"zoo.py:{function}", "--parameters", parameters or "p.yaml", "--out", "o.csv",
            "--retry-delay-ms", "50", "-o", "json", *options, within_seconds=90,
        )  # fmt: skip
        return done, rows_of("o.csv")

    return run


def rows_of(name: str) -> list[dict[str, str]]:
    path = Path(name)
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def parameters(done) -> dict[str, int]:
    return done.verdict["parameters"]


def one_failed(done, rows, said: str, *, bad: int = zoo.BAD, of: int = 6) -> None:
    """All but one are ok, and that one failed, after all its attempts, with its own reason."""
    assert done.code == 8, done.err
    assert parameters(done) == {"total": of, "ok": of - 1, "failed": 1, "lost": 0}
    assert [row["value"] for row in rows] == ["" if x == bad else str(x) for x in range(of)]
    errors = {row["x"]: (row["error"], row["attempts"]) for row in rows if row["error"]}
    assert list(errors) == [str(bad)]
    error, attempts = errors[str(bad)]
    assert said in error
    assert attempts == "3"
    (told,) = done.verdict["errors"]
    assert (told["error"], told["count"], told["parameters"]) == (error, 1, [bad])


@pytest.mark.case("C1")
def test_a_segfault_among_many_short_chunks(sweep):
    done, rows = sweep("segfault_at_40", "--chunk-size", "1", "--lease-ms", "500", count=300)
    one_failed(done, rows, "died by SIGSEGV", bad=40, of=300)
    assert done.verdict["seconds"] < 60
    assert done.verdict["chunks"]["recovered"] == 0


@pytest.mark.case("C2")
def test_a_value_is_as_it_was_at_the_return(sweep):
    done, rows = sweep("same_dict", "--chunk-size", "3")
    assert done.code == 0
    assert [row["y"] for row in rows] == list("012345")


@pytest.mark.parametrize(
    "function",
    [
        pytest.param("stop", marks=pytest.mark.case("C3")),
        pytest.param("interrupt", marks=pytest.mark.case("C4")),
        "cancelled",
        pytest.param("surrogate", marks=pytest.mark.case("C5")),
        pytest.param("mute", marks=pytest.mark.case("C5")),
        pytest.param("long_text", marks=pytest.mark.case("C6")),
        pytest.param("exit_3", marks=pytest.mark.case("C7")),
        "exit_in_c",
        "abort",
        "system_exit",
        "a_set",
        "giant",
    ],
)
@pytest.mark.parametrize("chunk_size", ["1", "6"])
def test_what_ends_a_call_fails_its_parameter_alone(sweep, function, chunk_size):
    done, rows = sweep(function, "--chunk-size", chunk_size)
    one_failed(done, rows, zoo.EXPECTED[function])


@pytest.mark.case("C3")
def test_what_ends_a_call_after_longer_than_a_lease(sweep):
    done, rows = sweep("stop_late", "--lease-ms", "1000", "--max-attempts", "1")
    assert [row["x"] for row in rows if row["error"]] == ["2"]
    assert parameters(done)["ok"] == 5


@pytest.mark.case("C10")
@pytest.mark.parametrize("function", ["hang", "hang_deaf"])
def test_a_call_that_never_ends(sweep, function):
    done, rows = sweep(function, "--parameter-timeout", "1s", "--max-attempts", "2", count=10)
    assert parameters(done) == {"total": 10, "ok": 9, "failed": 1, "lost": 0}
    (error,) = [row["error"] for row in rows if row["error"]]
    assert error == "no answer in 1 s"


def test_a_call_that_takes_all_memory(sweep):
    done, rows = sweep("greedy", "--parameter-memory", "300Mi")
    one_failed(done, rows, "and may take 300 MiB")


@pytest.mark.parametrize(
    ("function", "value"),
    [
        pytest.param("terminated_child", "-15", marks=pytest.mark.case("C11")),
        pytest.param("forked_exit", None, marks=pytest.mark.case("C12")),
        ("forked_return", None),
        ("pool", "6"),
    ],
)
def test_children_are_the_functions_own_affair(sweep, function, value):
    done, rows = sweep(function)
    assert done.code == 0, done.err
    assert [row["value"] for row in rows] == [value or str(x) for x in range(6)]
    assert done.verdict["chunks"]["duplicated"] == 0


@pytest.mark.case("C8")
def test_what_a_function_started_is_no_worker_and_ends_with_its_worker(ttgctl, sweep, server, run_id, until):
    shutil.copy(ZOO, "zoo.py")
    Path("p.yaml").write_text("parameters: {x: {range: [30]}}\n")
    running = ttgctl.start(
        "run", "--substrate", "local", "--broker-url", server.url, "--name", run_id, "--workers", "2",
        "--workload", "zoo.py:leave_a_child", "--parameters", "p.yaml",
    )  # fmt: skip

    def left() -> list[int]:
        found = []
        for owned in ttgctl.processes(run_id):
            with suppress(psutil.NoSuchProcess):
                if "4321" in psutil.Process(owned.pid).cmdline():
                    found.append(owned.pid)
        return found

    until(lambda: ttgctl.accounted(run_id) >= 4 and left())
    workers = ttgctl.workers(run_id)
    assert len(workers) == 2
    running.send(signal.SIGKILL)
    for worker in workers:
        psutil.Process(worker.pid).kill()
    running.wait()
    done = ttgctl("resume", run_id, "-o", "json")
    assert done.code == 0, done.err
    snapshots = [e.snapshot for e in ttgctl.events(run_id) if hasattr(e, "snapshot")]
    assert max(len([w for w in s.workers if w.state != "ended"]) for s in snapshots) == 2
    assert ttgctl.processes(run_id) == []


@pytest.mark.case("C9")
def test_nothing_waits_behind_a_long_parameter(sweep):
    Path("c9.jsonl").write_text("".join(f'{{"x": {x}}}\n' for x in [0] * 150 + [1] * 24))
    done, _ = sweep("as_long_as_told", "--chunk-size", "1", "--workers", "3", parameters="c9.jsonl")
    assert done.code == 0, done.err
    # 24 seconds of work for three: by one alone, or with one idle, it would be 24 or 12.
    assert done.verdict["seconds"] < 11.5
    assert done.verdict["chunks"]["recovered"] == 0


@pytest.mark.case("C17")
def test_numbers_that_json_has_no_word_for_are_values(sweep, ttgctl, run_id):
    done, rows = sweep("not_numbers")
    assert done.code == 0, done.err
    assert [row["value"] for row in rows] == ["nan", "inf", "-inf", "-0.0", "1.5", '{"a":"NaN"}']
    lines = ttgctl("results", run_id, "-o", "json").out.splitlines()
    values = [msgspec.json.decode(line)["value"] for line in lines]
    assert values == ["NaN", "Infinity", "-Infinity", 0.0, 1.5, {"a": "NaN"}]


@pytest.mark.case("C18")
def test_some_of_many_raise(sweep):
    done, rows = sweep("some_raise", count=5000)
    bad = [x for x in range(5000) if x % 83 == 7]
    assert parameters(done) == {"total": 5000, "ok": 5000 - len(bad), "failed": len(bad), "lost": 0}
    assert [int(row["x"]) for row in rows if row["error"]] == bad
    assert all(row["error"] == f"ValueError: no rate for {row['x']}" for row in rows if row["error"])
    assert all(row["value"] == row["x"] for row in rows if not row["error"])


def test_a_chunk_function_fails_for_the_guilty_parameter_alone(sweep):
    done, rows = sweep("whole_chunk", "--chunk-function", "--chunk-size", "6")
    one_failed(done, rows, "one of you is bad")


@pytest.mark.case("C20")
def test_a_call_that_holds_the_gil_is_made_once(sweep):
    done, rows = sweep("holds_gil", "--lease-ms", "1000", "--max-attempts", "1")
    assert done.code == 0, done.err
    assert [row["value"] for row in rows] == list("012345")
    chunks = done.verdict["chunks"]
    assert (chunks["recovered"], chunks["duplicated"]) == (0, 0)


@pytest.mark.case("C39")
def test_a_death_after_a_silence_is_one_failed_parameter(sweep):
    done, rows = sweep("backtracks", "--chunk-size", "1", count=20)
    one_failed(done, rows, "died by SIGKILL", bad=19, of=20)


@pytest.mark.case("C19")
@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("generator", "is a generator"),
        ("coroutine", "is async"),
        ("async_call", "is async"),
        ("AClass", "is a class"),
    ],
)
def test_what_is_no_function_is_refused_at_the_start(ttgctl, function, said):
    shutil.copy(ZOO, "zoo.py")
    Path("p.yaml").write_text("parameters: {x: {range: [6]}}\n")
    done = ttgctl("run", "--substrate", "local", "--workload", f"zoo.py:{function}", "--parameters", "p.yaml")
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not (ttgctl.state / "runs").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "f.py",
            "from pathlib import Path\nDATA = open(Path(__file__).parent / 'data.txt').read()\n",
            marks=pytest.mark.case("C13"),
        ),
        pytest.param(
            "f.py",
            "import argparse\nargs = argparse.ArgumentParser().parse_args()\n",
            marks=pytest.mark.case("C14"),
        ),
        pytest.param(
            "f.py",
            "import threading, time\nthreading.Thread(target=time.sleep, args=(4321,)).start()\n",
            marks=pytest.mark.case("C15"),
        ),
        pytest.param("queue.py", "", marks=pytest.mark.case("C16")),
        pytest.param("random.py", "", marks=pytest.mark.case("C16")),
        pytest.param("json.py", "", marks=pytest.mark.case("C16")),
        ("logging.py", "import tempfile, multiprocessing\n"),
        ("f.py", "import sys\nsys.stdout.reconfigure(encoding='latin-1')\nprint('\\xe9')\n"),
        ("f.py", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"),
    ],
)
def test_a_file_is_loaded_as_python_runs_it(ttgctl, sweep, server, run_id, name, text):
    Path(name).write_text(f"{text}def f(p):\n    return p['x']\n")
    Path("data.txt").write_text("something\n")
    Path("p.yaml").write_text("parameters: {x: {range: [6]}}\n")
    done = ttgctl(
        "run", "--substrate", "local", "--broker-url", server.url, "--name", run_id, "--workers", "2",
        "--workload", f"{name}:f", "--parameters", "p.yaml", "--out", "o.csv", "-o", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [row["value"] for row in rows_of("o.csv")] == list("012345")
    assert ttgctl.processes(run_id) == []
