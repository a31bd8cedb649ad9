"""The baseline that loses, on a Kind cluster: fixed shares as a Job, and what becomes of a share."""

from __future__ import annotations

import json
import secrets
import signal

import pytest

from ttgctl.substrates.worker_image import image_files, image_name

RUN_SECONDS = 150.0
WORKERS = 3
# By the names of programs: no worker's command line has it, only what carries its share to and fro.
BREAK_OFF = """
import os, pathlib, signal
for each in pathlib.Path("/proc").glob("[0-9]*"):
    if b"ttg_worker.brokers.static.pipe" in (each / "cmdline").read_bytes().split(b"\\0"):
        os.kill(int(each.name), signal.SIGKILL)
        print("broken")
"""


def shares_of(chunk_ids) -> set[int]:
    return {chunk_id % WORKERS for chunk_id in chunk_ids}


def share_of(pod: str) -> int:
    """Of a pod of an indexed Job: its name ends in the index and a word of chance."""
    return int(pod.split("-")[-2])


def test_loses_nothing_while_nothing_goes_wrong_and_leaves_nothing(
    on_kind, demo, new_name, cluster, namespace
):
    name = new_name("calm")
    done = on_kind(*demo(backend="static", name=name), within_seconds=RUN_SECONDS)
    assert done.code == 0, done.err
    verdict = done.verdict
    assert (verdict["lossless"], verdict["backend"], verdict["substrate"]) == (True, "static", "kind")
    assert verdict["queues_after"] == {
        "ttg.tasks": 0, "ttg.results": 40, "ttg.tasks.retry": 0, "ttg.tasks.dlq": 0,
    }  # fmt: skip
    assert verdict["checksum"] == verdict["checksum_expected"]
    assert cluster.uids(namespace, name) == set()
    assert not on_kind.folder(name).local.exists()


@pytest.fixture(scope="module")
def killed(on_kind, demo, new_name, cluster, namespace):
    """A run that had a worker killed, with all that it made still there, and nothing after its cleanup."""
    name = new_name("kill")
    done = on_kind(*demo("--fault-demo", backend="static", name=name), within_seconds=RUN_SECONDS)
    yield name, done
    removed = on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert "3 deleted, 0 failed, 0 already gone, 0 still there" in removed.err
    assert cluster.uids(namespace, name) == set()
    assert not on_kind.folder(name).local.exists()


class TestARunWithAWorkerKilled:
    def test_has_lost_the_rest_of_one_share_and_names_it(self, killed):
        name, done = killed
        assert done.code == 7, done.err
        verdict = done.verdict
        (fault,) = verdict["faults"]
        assert fault["victim"].startswith(f"ttg-{name}-worker-")
        assert fault["effect"] == "process gone"
        assert fault["redelivered_seconds"] is None
        assert fault["replaced_seconds"] is None
        share, lost = share_of(fault["victim"]), verdict["lost_chunks"]
        assert lost == [chunk_id for chunk_id in range(lost[0], 40) if chunk_id % WORKERS == share]
        assert set(fault["chunks_held"]) <= set(lost)
        assert verdict["chunks"]["ok"] == 40 - len(lost)
        assert verdict["queues_after"]["ttg.tasks"] == len(lost)
        assert any("share of a worker that died" in note for note in verdict["notes"])

    def test_had_a_pod_for_each_share_and_none_for_a_dead_one(self, killed, on_kind):
        name, _ = killed
        seen = {
            w.worker_id for e in on_kind.events(name) if hasattr(e, "snapshot") for w in e.snapshot.workers
        }
        assert sorted(map(share_of, seen)) == [0, 1, 2]

    def test_keeps_its_pods_restricted(self, killed, cluster, namespace):
        (job,) = cluster.objects("job", namespace, run_id=killed[0])
        spec = job["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        security = spec["containers"][0]["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert cluster.objects("pods", namespace, run_id=killed[0]) == []

    def test_is_judged_the_same_again_and_can_not_go_on(self, killed, on_kind):
        name, done = killed
        verified = on_kind("verify", name, "--output", "json")
        assert verified.code == 7, verified.err
        assert verified.verdict["lost_chunks"] == done.verdict["lost_chunks"]
        resumed = on_kind("resume", name)
        assert resumed.code == 2
        assert f"ttgctl replay {name}" in resumed.err

    def test_owns_its_job_and_its_files_here(self, killed, on_kind):
        name, _ = killed
        listed = json.loads(on_kind("cleanup", name, "--dry-run", "--output", "json").out)
        assert sorted(item["kind"] for item in listed) == ["ConfigMap", "Job", "folder"]


def test_connections_that_break_lose_and_double_nothing(on_kind, demo, new_name, cluster, namespace, until):
    name = new_name("broken")
    running = on_kind.start(*demo(backend="static", name=name, parameters_total=90))
    broken = 0
    for least in (5, 20, 35):
        until(lambda least=least: on_kind.accounted(name) >= least, within_seconds=RUN_SECONDS)
        for pod in cluster.objects("pods", namespace, run_id=name):
            words = ["exec", "-n", namespace, pod["metadata"]["name"], "--", "python", "-c", BREAK_OFF]
            # One that is done with its share has no container any more.
            broken += cluster.kubectl(*words, check=False).stdout.count("broken")
    done = running.wait(within_seconds=RUN_SECONDS)
    assert done.code == 0, done.err
    assert broken >= WORKERS
    assert done.verdict["chunks"]["ok"] == 90
    assert done.verdict["chunks"]["duplicated"] == 0


def test_ends_when_all_workers_are_gone(on_kind, demo, new_name):
    done = on_kind(
        # Each is found and killed after the other, and must not be done before.
        *demo(backend="static", name=new_name("none"), fault="kill-worker at=20% count=3", work_ms=1000),
        within_seconds=RUN_SECONDS,
    )
    assert done.code == 7, done.err
    account = done.verdict["chunks"]
    assert account["ok"] + account["lost"] == 40
    assert shares_of(done.verdict["lost_chunks"]) == {0, 1, 2}


def test_a_stopped_worker_keeps_its_share_and_a_broker_that_is_not_there_can_not_fail(
    on_kind, demo, new_name
):
    faults = ("stop-worker at=10% duration=4s", "kill-broker at=10%", "partition at=10%", "poison chunks=4")
    words = [word for fault in faults for word in ("--fault", fault)]
    done = on_kind(
        *demo(*words, backend="static", name=new_name("faults"), max_attempts=2, retry_delay_ms=20),
        within_seconds=RUN_SECONDS,
    )
    assert done.code == 8, done.err
    assert done.verdict["chunks"]["lost"] == 0
    assert done.verdict["dead_lettered_chunks"] == [4]
    by_kind = {fault["kind"]: fault for fault in done.verdict["faults"]}
    assert "silent for" in by_kind["stop-worker"]["effect"]
    for kind in ("kill-broker", "partition"):
        assert "have no broker" in by_kind[kind]["note"]


def test_an_interrupt_ends_the_pods(on_kind, demo, new_name, cluster, namespace, until):
    name = new_name("stopped")
    running = on_kind.start(*demo(backend="static", name=name, parameters_total=400))
    until(lambda: on_kind.accounted(name) > 0, within_seconds=RUN_SECONDS)
    running.send(signal.SIGINT)
    done = running.wait(within_seconds=RUN_SECONDS)
    assert done.code == 130, done.err
    assert cluster.objects("pods", namespace, run_id=name) == []
    assert on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS).code == 0


def test_runs_by_context_in_a_namespace_that_goes_with_it(on_kind, demo, new_name, cluster, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    namespace, name = f"ttg-e2e-{secrets.token_hex(3)}", new_name("context")
    done = on_kind(
        *demo(
            "--keep", backend="static", name=name, substrate="context", context=cluster.context,
            namespace=namespace, image=image_name(image_files()),
        ),
        within_seconds=RUN_SECONDS,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (done.verdict["lossless"], done.verdict["substrate"]) == (True, "context")
    removed = on_kind(
        "cleanup", "--all", "--force", "--context", cluster.context, "--namespace", namespace,
        within_seconds=RUN_SECONDS,
    )  # fmt: skip
    assert removed.code == 0, removed.err
    assert not on_kind.folder(name).local.exists()
    assert not cluster.namespace_exists(namespace)


def test_the_whole_matrix_runs_on_one_cluster(on_kind, cluster, namespace, new_name):
    name = new_name("cmp")
    done = on_kind(
        "compare", "--substrate", "kind", "--cluster", cluster.name, "--namespace", namespace,
        "--parameters-total", "30", "--chunk-size", "1", "--work-ms", "250", "--lease-ms", "1000",
        "--output", "json", "--name", name, within_seconds=2 * RUN_SECONDS,
    )  # fmt: skip
    assert done.code == 0, done.err
    cells = {(cell["backend"], cell["faulted"]): cell for cell in json.loads(done.out)}
    assert set(cells) == {(b, f) for b in ("static", "redis", "rabbitmq") for f in (False, True)}
    for (backend, faulted), cell in cells.items():
        assert (cell["lost"] > 0) == (backend == "static" and faulted)
    runs = sorted(path.name for path in (on_kind.state / "runs").glob(f"{name}-*"))
    assert len(runs) == 6
    assert {on_kind.folder(run).read_spec().substrate for run in runs} == {"kind"}
    for run in runs:
        assert cluster.uids(namespace, run) == set()
