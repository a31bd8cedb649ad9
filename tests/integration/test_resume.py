"""Commands that are killed, interrupted or out of time, and the ones that go on from there."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from ttgctl.domain.events import Interrupted, Progress
from ttgctl.substrates.local.substrate import BROKER


def lossless(done, *, chunks: int) -> dict:
    assert done.code == 0, done.err
    verdict = done.verdict
    assert verdict["lossless"] is True
    assert (verdict["chunks"]["attempted"], verdict["chunks"]["ok"]) == (chunks, chunks)
    assert verdict["checksum"] == verdict["checksum_expected"]
    return verdict


def resume(ttgctl, run_id: str, *options: str):
    return ttgctl("resume", run_id, "--output", "json", *options)


class TestAKilledCommand:
    def test_while_publishing_goes_on_with_the_chunks_that_were_not_sent(self, ttgctl, backend, until):
        chunks = 40_000
        arguments = ttgctl.demo(backend=backend, name="r", parameters_total=chunks, chunk_size=1, work_ms=0)
        running = ttgctl.start(*arguments)

        def in_the_middle() -> bool:
            seen = [e.snapshot.published for e in ttgctl.events("r") if isinstance(e, Progress)]
            return bool(seen) and 0 < seen[-1] < chunks

        until(in_the_middle)
        running.send(signal.SIGKILL)
        running.wait()
        assert not ttgctl.published("r")
        lossless(resume(ttgctl, "r"), chunks=chunks)
        assert ttgctl.processes() == []

    def test_while_watching_leaves_workers_that_drain_and_then_end(self, ttgctl, backend, until):
        arguments = ttgctl.demo(
            backend=backend, name="r", parameters_total=40, chunk_size=1, work_ms=150, idle_exit_seconds=1
        )
        running = ttgctl.start(*arguments)
        until(lambda: ttgctl.published("r") and ttgctl.accounted("r") > 3)
        running.send(signal.SIGKILL)
        running.wait()
        before = ttgctl.accounted("r")
        assert len(ttgctl.workers("r")) == 3
        until(lambda: not ttgctl.workers("r"), within_seconds=20, what="idle workers end")

        # The broker waits for who resumes or cleans up, and is in the list of what is there.
        assert {process.name for process in ttgctl.processes("r")} == {BROKER}
        listed = ttgctl("cleanup", "r", "--dry-run")
        assert "broker" in listed.out
        assert str(ttgctl.folder("r").local).split("/")[-1] in listed.out

        done = resume(ttgctl, "r")
        verdict = lossless(done, chunks=40)
        assert before < 40
        assert verdict["chunks"]["duplicated"] == 0
        assert ttgctl.processes() == []

    def test_is_cleaned_up_after_if_nobody_resumes(self, ttgctl, backend, until):
        running = ttgctl.start(
            *ttgctl.demo(backend=backend, name="r", parameters_total=40, chunk_size=1, work_ms=500)
        )
        until(lambda: ttgctl.published("r") and ttgctl.accounted("r") > 0)
        running.send(signal.SIGKILL)
        running.wait()
        assert ttgctl.processes("r")
        removed = ttgctl("cleanup", "r", "--force")
        assert removed.code == 0, removed.err
        assert ttgctl.processes() == []
        assert not ttgctl.folder("r").local.exists()
        assert ttgctl("cleanup", "--all", "--force").code == 0
        # The chunks are gone with the broker, but the ledger knows which have no result.
        lossless(resume(ttgctl, "r"), chunks=40)
        assert ttgctl.processes() == []


class TestCtrlC:
    def test_stops_the_workers_and_says_how_to_go_on(self, ttgctl, backend, until):
        running = ttgctl.start(
            *ttgctl.demo(backend=backend, name="r", parameters_total=60, chunk_size=1, work_ms=150)
        )
        until(lambda: ttgctl.accounted("r") > 3)
        running.send(signal.SIGINT)
        stopped = running.wait(within_seconds=20)
        assert stopped.code == 130
        assert "ttgctl resume r" in stopped.err
        assert stopped.out == ""
        assert ttgctl.processes() == []
        assert isinstance(ttgctl.events("r")[-1], Interrupted)

        verdict = lossless(resume(ttgctl, "r"), chunks=60)
        # What was in hand was finished, so none of it is done twice.
        assert verdict["chunks"]["duplicated"] == 0
        assert ttgctl.processes() == []

    def test_twice_leaves_at_once(self, ttgctl, server, run_id, until):
        running = ttgctl.start(
            *ttgctl.demo(broker_url=server.url, name=run_id, parameters_total=3, chunk_size=1, work_ms=30_000)
        )
        until(lambda: any(w.chunk_id is not None for w in last_workers(ttgctl, run_id)))
        running.send(signal.SIGINT)
        until(lambda: "Ctrl-C again" in running.err)
        running.send(signal.SIGINT)
        started = time.monotonic()
        assert running.wait().code == 130
        assert time.monotonic() - started < 2

    def test_a_fault_that_was_injected_is_not_injected_again(self, ttgctl, server, run_id, until):
        arguments = ttgctl.demo(
            broker_url=server.url, name=run_id, parameters_total=30, chunk_size=1, work_ms=150,
            fault="kill-worker at=10%", lease_ms=500,
        )  # fmt: skip
        running = ttgctl.start(*arguments)
        until(lambda: any(hasattr(e, "record") and e.record.victim for e in ttgctl.events(run_id)))
        running.send(signal.SIGINT)
        assert running.wait().code == 130
        verdict = lossless(resume(ttgctl, run_id), chunks=30)
        assert len(verdict["faults"]) == 1


class TestATerminalThatGoesAway:
    def run(self, ttgctl, until, *under: str) -> int:
        arguments = ttgctl.demo(backend="redis", name="r", parameters_total=40, chunk_size=1, work_ms=100)
        running = subprocess.Popen(
            [*under, ttgctl.program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: ttgctl.accounted("r") > 3)
        running.send_signal(signal.SIGHUP)
        return running.wait(timeout=60)

    def test_stops_the_run_which_can_be_resumed(self, ttgctl, until):
        assert self.run(ttgctl, until) == 130
        assert ttgctl.processes() == []
        lossless(resume(ttgctl, "r"), chunks=40)

    def test_is_nothing_to_one_under_nohup(self, ttgctl, until):
        assert self.run(ttgctl, until, "nohup") == 0


def last_workers(ttgctl, run_id: str) -> tuple:
    seen = [e.snapshot.workers for e in ttgctl.events(run_id) if isinstance(e, Progress)]
    return seen[-1] if seen else ()


def test_out_of_time_it_says_what_is_missing_and_can_go_on(ttgctl, server, run_id):
    arguments = ttgctl.demo(
        broker_url=server.url, name=run_id, parameters_total=20, chunk_size=1, work_ms=300, timeout=1.5
    )
    late = ttgctl(*arguments)
    assert late.code == 6
    assert f"ttgctl resume {run_id}" in late.err
    verdict = late.verdict
    assert (verdict["complete"], verdict["lossless"]) == (False, False)
    assert verdict["chunks"]["ok"] < 20
    assert verdict["chunks"]["lost"] == 0
    assert verdict["lost_chunks"] == []
    assert ttgctl.processes() == []

    lossless(resume(ttgctl, run_id), chunks=20)
    again = resume(ttgctl, run_id)
    assert again.code == 2
    assert f"ttgctl verify {run_id}" in again.err


def test_one_command_at_a_time_works_on_a_run(ttgctl, server, run_id, until):
    running = ttgctl.start(
        *ttgctl.demo(broker_url=server.url, name=run_id, parameters_total=20, chunk_size=1, work_ms=300)
    )
    until(lambda: ttgctl.accounted(run_id) > 0)
    other = resume(ttgctl, run_id)
    assert other.code == 2
    assert f"ttgctl monitor {run_id}" in other.err
    lossless(running.wait(), chunks=20)


@pytest.mark.case("C25")
@pytest.mark.parametrize("words", [["r", "--force"], ["--force"]])
def test_what_a_command_works_on_is_not_cleaned_up(ttgctl, backend, until, words):
    """By its name, or because it is the newest."""
    running = ttgctl.start(
        *ttgctl.demo(backend=backend, name="r", parameters_total=400, chunk_size=1, work_ms=300)
    )
    until(lambda: ttgctl.accounted("r") > 0)
    refused = ttgctl("cleanup", *words)
    assert refused.code == 2
    assert "ttgctl monitor r" in refused.err
    assert ttgctl("cleanup", "r", "--dry-run").code == 0
    spared = ttgctl("cleanup", "--all", "--force")
    assert spared.code == 0, spared.err
    assert "left alone: run r" in spared.err
    running.send(signal.SIGINT)
    assert running.wait().code == 130
    removed = ttgctl("cleanup", *words)
    assert removed.code == 0, removed.err
    assert ttgctl.processes() == []


def test_a_polite_kill_is_as_ctrl_c(ttgctl, server, run_id, until):
    running = ttgctl.start(
        *ttgctl.demo(broker_url=server.url, name=run_id, parameters_total=20, chunk_size=1, work_ms=200)
    )
    until(lambda: ttgctl.accounted(run_id) > 0)
    running.send(signal.SIGTERM)
    assert running.wait().code == 130
    assert ttgctl.processes() == []
