"""Each kind of fault through the installed command, on real brokers: what it does, proves and undoes."""

from __future__ import annotations

import re
import signal
import time

import psutil
import pytest

from ttgctl.domain.events import Fault

pytestmark = pytest.mark.timeout(240)


def sweep(ttgctl, *faults: str, chunks: int = 40, work_ms: int = 100, **options) -> list[str]:
    """A run of ``chunks`` chunks that would take some seconds without a fault."""
    words = [word for fault in faults for word in ("--fault", fault)]
    return ttgctl.demo(
        "--require-effect",
        *words,
        parameters_total=chunks,
        chunk_size=1,
        work_ms=work_ms,
        lease_ms=1000,
        **options,
    )


def survived(done) -> dict:
    """The verdict, nothing lost and nothing left in effect."""
    assert done.code == 0, done.err
    verdict = done.verdict
    assert verdict["lossless"] is True
    assert verdict["unmet"] == []
    assert verdict["checksum"] == verdict["checksum_expected"]
    assert all(fault["undone"] for fault in verdict["faults"])
    return verdict


class TestWorkers:
    def test_killed_ones_are_replaced_and_their_chunks_come_again(self, ttgctl, server, run_id):
        done = ttgctl(*sweep(ttgctl, "kill-worker at=20% count=2", broker_url=server.url, name=run_id))
        verdict = survived(done)
        faults = verdict["faults"]
        assert [fault["effect"] for fault in faults] == ["process gone"] * 2
        assert len({fault["uid"] for fault in faults}) == 2
        held = {chunk for fault in faults for chunk in fault["chunks_held"]}
        assert held
        # What one of two took between its last heartbeat and its death can't be told from the other's.
        assert verdict["chunks"]["recovered"] >= len(held)
        assert all(0 < fault["redelivered_seconds"] < 8 for fault in faults if fault["chunks_held"])
        assert all(0 < fault["replaced_seconds"] < 8 for fault in faults)
        assert verdict["recovery"]["max_seconds"] < 8

    def test_a_stopped_one_comes_back_and_its_chunk_counts_once(self, ttgctl, server, run_id):
        """Stopped for longer than the lease: another worker takes its chunk, and it gives it as well."""
        faults = "stop-worker at=20% duration=8s"
        done = ttgctl(*sweep(ttgctl, faults, chunks=250, broker_url=server.url, name=run_id))
        (fault,) = survived(done)["faults"]
        stopped, silence = fault["effect"].split("; ")
        assert stopped == "stopped"
        assert float(silence.removeprefix("silent for ").removesuffix(" s")) >= 5
        assert not fault["chunks_held"] or fault["redelivered_seconds"] < 8
        assert fault["replaced_seconds"] is None

    def test_a_slow_one_does_its_share_and_no_more(self, ttgctl, server, run_id):
        faults = "slow-worker at=10% factor=8"
        done = ttgctl(*sweep(ttgctl, faults, chunks=60, broker_url=server.url, name=run_id))
        (fault,) = survived(done)["faults"]
        stopped, total = re.match(r"stopped for ([\d.]+) of ([\d.]+) s", fault["effect"]).groups()
        assert 0.7 * float(total) < float(stopped) < float(total)

    def test_a_partitioned_one_is_cut_off_and_rejoins(self, ttgctl, server, run_id):
        faults = "partition at=20% duration=6s"
        done = ttgctl(*sweep(ttgctl, faults, chunks=250, broker_url=server.url, name=run_id))
        (fault,) = survived(done)["faults"]
        assert "cut" in fault["effect"]
        # A worker that is cut off between two chunks holds none.
        assert not fault["chunks_held"] or 0 < fault["redelivered_seconds"] < 8


@pytest.mark.parametrize("fault", ["kill-broker at=5% duration=1s", "restart-broker at=20% duration=500ms"])
def test_a_broker_that_goes_comes_back_with_all_it_had(ttgctl, backend, fault):
    done = ttgctl(*sweep(ttgctl, fault, backend=backend), within_seconds=120)
    (record,) = survived(done)["faults"]
    assert (record["victim"], record["effect"]) == ("broker", "uid changed")
    assert 0.5 < record["replaced_seconds"] < 40


class TestChunks:
    def test_failing_and_doubled_ones_change_nothing(self, ttgctl, server, run_id):
        faults = ("error-rate rate=20%", "duplicate chunks=2,5,9")
        done = ttgctl(
            *sweep(
                ttgctl,
                *faults,
                work_ms=20,
                max_attempts=10,
                retry_delay_ms=100,
                broker_url=server.url,
                name=run_id,
            )
        )
        verdict = survived(done)
        errors, duplicates = verdict["faults"]
        # The duplicates' attempts fail as well, and only the effect counts them.
        assert int(errors["effect"].split()[0]) >= verdict["chunks"]["retried"] > 0
        assert duplicates["effect"] == "3 chunks computed twice"
        assert verdict["chunks"]["duplicated"] == 3

    def test_poisoned_ones_end_in_the_dlq_and_the_rest_goes_on(self, ttgctl, server, run_id):
        done = ttgctl(
            *sweep(
                ttgctl,
                "poison chunks=3,7",
                work_ms=20,
                retry_delay_ms=100,
                broker_url=server.url,
                name=run_id,
            )
        )
        assert done.code == 8, done.err
        assert done.verdict["dead_lettered_chunks"] == [3, 7]
        assert done.verdict["chunks"]["ok"] == 38
        (fault,) = done.verdict["faults"]
        assert fault["effect"] == "2 chunks dead-lettered"

    def test_a_corrupt_result_is_never_taken_for_a_good_one(self, ttgctl, server, run_id):
        done = ttgctl(
            *sweep(ttgctl, "corrupt-result chunks=4", work_ms=20, broker_url=server.url, name=run_id)
        )
        assert done.code == 7, done.err
        assert done.verdict["lossless"] is False
        assert done.verdict["conflicting_chunks"] == [4]
        (fault,) = done.verdict["faults"]
        assert fault["effect"] == "1 chunk with values that differ from their checksum"


@pytest.mark.parametrize(
    "fault",
    [
        "stop-worker at=5% duration=60s",
        "partition at=5% duration=60s",
        "slow-worker at=5%",
        "kill-broker at=5% duration=60s",
    ],
)
def test_an_interrupt_undoes_what_is_in_effect(ttgctl, until, fault):
    running = ttgctl.start(*sweep(ttgctl, fault, chunks=100, backend="redis", name="cut-short"))
    told = until(
        lambda: [e.record for e in ttgctl.events("cut-short") if isinstance(e, Fault) and e.record.victim]
    )
    assert not told[-1].undone
    began = time.monotonic()
    running.send(signal.SIGINT)
    assert running.wait().code == 130
    assert time.monotonic() - began < 20
    records = [e.record for e in ttgctl.events("cut-short") if isinstance(e, Fault)]
    assert records[-1].undone
    assert ttgctl.processes("cut-short") == []
    # The run goes on where it was, and does not suffer the same again.
    (fault_of_both,) = survived(ttgctl("resume", "cut-short", "--output", "json"))["faults"]
    assert fault_of_both["uid"] == told[-1].uid


def test_a_worker_stopped_by_a_command_that_was_killed_works_again_for_the_next(ttgctl, until):
    running = ttgctl.start(
        *sweep(ttgctl, "stop-worker at=5% duration=60s", chunks=60, backend="redis", name="orphaned")
    )
    until(lambda: [e for e in ttgctl.events("orphaned") if isinstance(e, Fault) and e.record.victim])
    stopped = [
        p for p in ttgctl.workers("orphaned") if psutil.Process(p.pid).status() == psutil.STATUS_STOPPED
    ]
    assert len(stopped) == 1
    running.send(signal.SIGKILL)
    running.wait()
    verdict = ttgctl("resume", "orphaned", "--output", "json").verdict
    assert verdict["lossless"] is True
    assert ttgctl.processes("orphaned") == []


def test_a_fault_that_hit_nothing_fails_a_run_that_requires_its_effect(ttgctl, server, run_id):
    arguments = sweep(ttgctl, "kill-worker at=60s", chunks=10, work_ms=10, broker_url=server.url, name=run_id)
    done = ttgctl(*arguments)
    assert done.code not in (0, 7), done.err
    (fault,) = done.verdict["faults"]
    assert (fault["victim"], fault["effect"]) == (None, None)
    assert done.verdict["unmet"]
    assert done.verdict["chunks"]["ok"] == 10


@pytest.mark.parametrize("fault", ["stop-node at=0s", "kill-broker at=0s"])
def test_what_this_substrate_cannot_do_is_said_and_hits_nothing(ttgctl, shared_servers, run_id, fault):
    server = shared_servers("redis")
    done = ttgctl(*sweep(ttgctl, fault, chunks=10, work_ms=10, broker_url=server.url, name=run_id))
    (record,) = done.verdict["faults"]
    assert record["victim"] is None
    assert record["note"].startswith(fault.split()[0] + ": ")


def test_a_plan_file_means_the_same_as_its_lines(ttgctl, shared_servers, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("- {kind: poison, chunks: [3]}\n- {kind: duplicate, chunks: [1]}\n")
    server = shared_servers("redis")
    arguments = sweep(
        ttgctl,
        "error-rate rate=0.01",
        chunks=50,
        work_ms=1,
        retry_delay_ms=10,
        broker_url=server.url,
        name="planned",
    )
    ttgctl(*arguments, "--faults", str(plan))
    assert ttgctl.folder("planned").read_spec().faults == (
        "error-rate rate=0.01", "poison chunks=3", "duplicate chunks=1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [("- {kind: kill}", ["plan.yaml", "fault 1", "kill-worker"]), ("[", ["plan.yaml", "line"])],
)
def test_a_bad_plan_ends_before_anything_starts(ttgctl, tmp_path, content, words):
    plan = tmp_path / "plan.yaml"
    plan.write_text(content)
    done = ttgctl(*ttgctl.demo("--faults", str(plan), backend="redis"))
    assert done.code == 2
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err
    assert not (ttgctl.state / "runs").exists()


def test_a_dry_run_tells_the_plan_and_starts_nothing(ttgctl):
    words = [
        w for f in ("kill-worker every=10s jitter=2s times=2", "poison chunks=3") for w in ("--fault", f)
    ]
    done = ttgctl(*ttgctl.demo("--dry-run", *words, backend="redis", seed=3))
    assert done.code == 0, done.err
    first, second, poison = done.verdict
    assert first["fault"] == second["fault"] == "kill-worker every=10s jitter=2s times=2 count=1"
    assert (10 <= float(first["when"].split()[0]) <= 12, 20 <= float(second["when"].split()[0]) <= 22) == (
        True,
        True,
    )
    assert first["victims"].startswith("worker ")
    assert (poison["when"], poison["victims"], poison["problem"]) == ("throughout", "chunk 3", None)
    assert done.out == ttgctl(*ttgctl.demo("--dry-run", *words, backend="redis", seed=3)).out
    assert not (ttgctl.state / "runs").exists()
    refused = ttgctl(*ttgctl.demo("--dry-run", "--fault", "stop-node", backend="redis", output="text"))
    assert refused.code == 4
    assert "stop-node: the local substrate has one node" in refused.out
