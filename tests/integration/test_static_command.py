"""The baseline that loses, through the installed command: fixed shares, and a worker killed."""

from __future__ import annotations

import msgspec
import yaml


def demo(ttgctl, *arguments, **changes):
    options = {"parameters_total": 60, "chunk_size": 2, "work_ms": 5, "workers": 3, **changes}
    return ttgctl(*ttgctl.demo(*arguments, backend="static", **options))


def test_loses_nothing_while_nothing_goes_wrong(ttgctl):
    done = demo(ttgctl, name="calm")
    assert done.code == 0, done.err
    assert done.verdict["lossless"] is True
    assert done.verdict["backend"] == "static"
    assert done.verdict["queues_after"] == {
        "ttg.tasks": 0, "ttg.results": 30, "ttg.tasks.retry": 0, "ttg.tasks.dlq": 0,
    }  # fmt: skip
    assert ttgctl.processes() == []
    assert not ttgctl.folder("calm").local.exists()


def test_a_killed_worker_takes_the_rest_of_its_share_with_it(ttgctl):
    done = demo(ttgctl, "--fault-demo", name="killed", work_ms=100)
    assert done.code == 7, done.err
    verdict = done.verdict
    (fault,) = verdict["faults"]
    assert fault["effect"]
    assert fault["redelivered_seconds"] is None
    assert fault["replaced_seconds"] is None
    share = int(fault["victim"].removeprefix("worker-")) - 1
    lost = verdict["lost_chunks"]
    assert len(lost) > 2
    assert {chunk_id % 3 for chunk_id in lost} == {share}
    # All that comes after the first lost one in the share is lost as well.
    assert lost == [chunk_id for chunk_id in range(lost[0], 30) if chunk_id % 3 == share]
    assert verdict["chunks"]["ok"] == 30 - len(lost)
    assert verdict["queues_after"]["ttg.tasks"] == len(lost)
    assert any("share of a worker that died" in note for note in verdict["notes"])

    verified = ttgctl("verify", "killed", "--output", "json")
    assert verified.code == 7, verified.err
    assert verified.verdict["lost_chunks"] == lost

    resumed = ttgctl("resume", "killed")
    assert resumed.code == 2
    assert "ttgctl replay killed" in resumed.err
    cleaned = ttgctl("cleanup", "killed", "--force")
    assert cleaned.code == 0, cleaned.err
    assert not ttgctl.folder("killed").local.exists()


def test_ends_when_all_workers_are_gone(ttgctl):
    done = demo(ttgctl, fault="kill-worker at=20% count=2", workers=2, work_ms=100)
    assert done.code == 7, done.err
    account = done.verdict["chunks"]
    assert account["lost"] > 2
    assert account["ok"] + account["lost"] == 30


def test_faults_of_a_broker_hit_nothing_and_say_so(ttgctl):
    done = demo(ttgctl, "--fault", "kill-broker at=10%", "--fault", "partition at=10%", "--require-effect")
    assert done.code == 4, done.err
    assert all("have no broker" in fault["note"] for fault in done.verdict["faults"])


def test_retries_and_dead_letters_work_without_a_queue(ttgctl):
    done = demo(ttgctl, name="bad", fault="poison chunks=4", max_attempts=2, retry_delay_ms=20)
    assert done.code == 8, done.err
    assert done.verdict["dead_lettered_chunks"] == [4]
    (letter,) = msgspec.json.decode(ttgctl("dlq", "list", "bad", "--output", "json").out)
    assert letter["chunk_id"] == 4
    assert ttgctl("dlq", "replay", "bad").code == 2


def test_is_no_broker_that_could_be_there_before(ttgctl):
    assert ttgctl("demo", "--broker-url", "static:///tmp/x?workers=1").code == 2


def test_shows_the_objects_that_it_would_make_on_a_cluster(ttgctl):
    shown = ttgctl("manifests", "--backend", "static", "--workers", "4")
    assert shown.code == 0, shown.err
    job = list(yaml.safe_load_all(shown.out))[-1]
    assert (job["kind"], job["spec"]["completions"]) == ("Job", 4)
    assert "StatefulSet" not in shown.out
