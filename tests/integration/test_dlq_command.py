"""Dead letters listed, shown, put back and dropped by the installed command, on real brokers."""

from __future__ import annotations

import msgspec
import pytest

from ttgctl.domain.events import Finished


def letters(ttgctl, run_id, *arguments):
    done = ttgctl("dlq", "list", run_id, "--output", "json", *arguments)
    assert done.code == 0, done.err
    return msgspec.json.decode(done.out)


def poisoned(ttgctl, server, run_id, *, chunks="2,5") -> None:
    arguments = ttgctl.demo(
        broker_url=server.url, name=run_id, parameters_total=60, chunk_size=10, work_ms=1,
        fault=f"poison chunks={chunks}", retry_delay_ms=50, max_attempts=2,
    )  # fmt: skip
    done = ttgctl(*arguments)
    assert done.code == 8, done.err
    assert done.verdict["dead_lettered_chunks"] == [int(c) for c in chunks.split(",")]


def test_put_back_some_then_the_rest(ttgctl, server, run_id):
    poisoned(ttgctl, server, run_id)
    found = letters(ttgctl, run_id)
    assert [letter["number"] for letter in found] == [1, 2]
    assert {letter["chunk_id"] for letter in found} == {2, 5}
    for letter in found:
        assert letter["cause"] == "failed"
        assert letter["attempt"] == 2
        assert letter["state"] == "dead"
        assert [failure["attempt"] for failure in letter["history"]] == [1]
        poisoned_chunk = f"chunk {letter['chunk_id']} is poisoned"
        assert letter["reason"] == f"{poisoned_chunk}: the run's fault plan asked for it"
    assert [letter["chunk_id"] for letter in letters(ttgctl, run_id, "--chunk", "5")] == [5]

    shown = ttgctl("dlq", "show", run_id, "--chunk", "5")
    assert "chunk 5, parameters 50-59" in shown.out
    assert "the run's fault plan asked for it" in shown.out

    # The plan poisons it again: it comes back as another letter, and the account stays exact.
    again = ttgctl("dlq", "replay", run_id, "--chunk", "5", "--output", "json")
    assert again.code == 8, again.err
    assert again.verdict["dead_lettered_chunks"] == [2, 5]
    assert again.verdict["chunks"]["ok"] == 4
    states = sorted((letter["chunk_id"], letter["state"]) for letter in letters(ttgctl, run_id))
    assert states == [(2, "dead"), (5, "dead"), (5, "replayed")]

    healed = ttgctl("dlq", "replay", run_id, "--chunk", "5", "--no-faults", "--output", "json")
    assert healed.code == 8, healed.err
    assert healed.verdict["dead_lettered_chunks"] == [2]
    assert healed.verdict["parameters"] == {"total": 60, "ok": 50, "failed": 10, "lost": 0}
    rest = ttgctl("dlq", "replay", run_id, "--no-faults", "--output", "json", "--keep")
    assert rest.code == 0, rest.err
    assert rest.verdict["lossless"] is True
    assert rest.verdict["checksum"] == rest.verdict["checksum_expected"]
    assert rest.verdict["chunks"]["duplicated"] == 0
    assert rest.verdict["queues_after"]["ttg.tasks.dlq"] == 0
    assert all(letter["has_result"] for letter in letters(ttgctl, run_id))

    verified = ttgctl("verify", run_id, "--output", "json")
    assert verified.code == 0, verified.err
    assert verified.verdict["lossless"] is True
    nothing = ttgctl("dlq", "replay", run_id)
    assert nothing.code == 2
    assert "no such dead letter" in nothing.err


def test_drop_keeps_them_given_up(ttgctl, server, run_id):
    poisoned(ttgctl, server, run_id)
    refused = ttgctl("dlq", "drop", run_id)
    assert refused.code in (0, 130)
    assert {letter["state"] for letter in letters(ttgctl, run_id)} == {"dead"}
    dropped = ttgctl("dlq", "drop", run_id, "--chunk", "2", "--force")
    assert dropped.code == 0, dropped.err
    assert {letter["chunk_id"]: letter["state"] for letter in letters(ttgctl, run_id)} == {
        2: "dropped",
        5: "dead",
    }
    healed = ttgctl("dlq", "replay", run_id, "--no-faults", "--output", "json")
    assert healed.code == 8, healed.err
    assert healed.verdict["dead_lettered_chunks"] == [2]
    assert healed.verdict["chunks"]["ok"] == 5


@pytest.mark.server
def test_a_repaired_function_finishes_the_run(ttgctl, tmp_path):
    broken = tmp_path / "work.py"
    broken.write_text("def square(x):\n    if x == 7:\n        raise ValueError('seven')\n    return x * x\n")
    parameters = tmp_path / "parameters.jsonl"
    parameters.write_text("".join(f"{number}\n" for number in range(12)))
    done = ttgctl(
        "run", "--workload", f"{broken}:square", "--parameters", str(parameters), "--substrate", "local",
        "--backend", "redis", "--name", "mend", "--chunk-size", "3", "--max-attempts", "1", "-o", "json",
    )  # fmt: skip
    assert done.code == 8, done.err
    assert done.verdict["dead_lettered_chunks"] == [2]
    assert "ValueError: seven" in ttgctl("dlq", "list", "mend").out

    broken.write_text("def square(x):\n    return x * x\n")
    out = tmp_path / "out.jsonl"
    mended = ttgctl(
        "dlq", "replay", "mend", "--workload", f"{broken}:square", "--out", str(out), "--output", "json"
    )
    assert mended.code == 0, mended.err
    rows = [msgspec.json.decode(line) for line in out.read_bytes().splitlines()]
    assert len(rows) == 12
    assert 49 in rows[7].values()
    assert sum(isinstance(event, Finished) for event in ttgctl.events("mend")) == 2
    assert ttgctl.processes() == []

    # What was cleaned up after the lossless end has nothing to put back.
    assert ttgctl("resume", "mend").code == 2


@pytest.mark.parametrize("arguments", [["--chunk", "9"], ["--number", "7"], ["--cause", "boredom"]])
def test_what_is_not_there_is_said(ttgctl, shared_servers, run_id, arguments):
    poisoned(ttgctl, shared_servers("redis"), run_id, chunks="1")
    done = ttgctl("dlq", "list", run_id, *arguments)
    assert done.code == 2
    assert arguments[1] in done.err


def test_a_finished_run_keeps_no_broker_and_a_replay_starts_one(ttgctl, backend):
    arguments = ttgctl.demo(
        backend=backend, name="gone", parameters_total=20, chunk_size=10, fault="poison chunks=1",
        max_attempts=1,
    )  # fmt: skip
    assert ttgctl(*arguments).code == 8
    assert ttgctl.processes() == []
    assert not ttgctl.folder("gone").local.exists()
    assert [letter["state"] for letter in letters(ttgctl, "gone")] == ["dead"]
    done = ttgctl("dlq", "replay", "gone", "--no-faults", "--output", "json")
    assert done.code == 0, done.err
    assert done.verdict["lossless"] is True
    assert done.verdict["parameters"] == {"total": 20, "ok": 20, "failed": 0, "lost": 0}
    assert ttgctl.processes() == []
