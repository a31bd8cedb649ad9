"""A cluster whose control plane, namespace or node goes away under a run, and pods that can't start."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from itertools import pairwise

import pytest

from ttgctl.domain.events import Progress

RUN_SECONDS = 200.0
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
# A function that begins here, and in no pod: psutil is no part of the workers' image.
IMPORTS = "import psutil\n\ndef f(x):\n    return x\n"


def in_node(node: str, script: str) -> str:
    argv = ["docker", "exec", node, "sh", "-c", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def control_plane(cluster, until):
    """The node's name; whatever a test did to it, the cluster works again afterwards."""
    node = f"{cluster.name}-control-plane"
    yield node
    in_node(node, f"[ -f {MANIFEST} ] || mv /root/kube-apiserver.yaml {MANIFEST}")

    def lease(name: str) -> str:
        argv = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "get", "lease", name]
        argv += ["-n", "kube-system", "-o", "jsonpath={.spec.renewTime}"]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    for name in ("kube-controller-manager", "kube-scheduler"):
        before = until(lambda name=name: lease(name), within_seconds=RUN_SECONDS)
        until(lambda name=name, before=before: lease(name) not in ("", before), within_seconds=RUN_SECONDS)


def longest_gap(events) -> float:
    times = [event.at for event in events if isinstance(event, Progress)]
    return max(later - earlier for earlier, later in pairwise(times))


@pytest.mark.case("C41")
def test_an_api_server_that_is_killed_costs_the_run_nothing(
    on_kind, demo, new_name, cluster, namespace, control_plane, until
):
    run_id = new_name("killed")
    arguments = demo(backend="redis", name=run_id, parameters_total=200, work_ms=300)
    running = on_kind.start(*arguments, "--fault", "kill-worker at=50%")
    until(lambda: on_kind.accounted(run_id) >= 10, within_seconds=RUN_SECONDS)
    in_node(control_plane, "pkill -9 kube-apiserver")
    done = running.wait(within_seconds=RUN_SECONDS)
    assert done.code == 0, done.err
    assert [fault["undone"] for fault in done.verdict["faults"]] == [True]
    assert longest_gap(on_kind.events(run_id)) < 2.0
    assert cluster.uids(namespace, run_id) == set()


@pytest.mark.case("C41")
def test_a_control_plane_that_is_away_is_told_of_and_a_stopped_victim_goes_on(
    on_kind, demo, new_name, cluster, namespace, control_plane, until
):
    run_id = new_name("away")
    arguments = demo(backend="rabbitmq", name=run_id, parameters_total=240, work_ms=500)
    running = on_kind.start(*arguments, "--fault", "stop-worker at=5% duration=5s")
    until(
        lambda: any(
            "stop-worker" in str(event) and "SIGSTOP" in str(event) for event in on_kind.events(run_id)
        ),
        within_seconds=RUN_SECONDS,
    )
    in_node(control_plane, f"mv {MANIFEST} /root/kube-apiserver.yaml")
    until(lambda: any("the run goes on" in n for n in on_kind.notices(run_id)), within_seconds=RUN_SECONDS)
    before = on_kind.accounted(run_id)

    def oldest() -> float:
        views = [event.snapshot for event in on_kind.events(run_id) if isinstance(event, Progress)]
        return max(view.workers_age_seconds for view in views)

    until(lambda: oldest() > 10, within_seconds=RUN_SECONDS)
    assert on_kind.accounted(run_id) > before
    in_node(control_plane, f"mv /root/kube-apiserver.yaml {MANIFEST}")
    done = running.wait(within_seconds=RUN_SECONDS)
    assert done.code == 0, done.err
    (fault,) = done.verdict["faults"]
    assert (fault["undone"], fault["note"]) == (True, None)
    assert any("answers again after" in notice for notice in on_kind.notices(run_id))
    assert cluster.uids(namespace, run_id) == set()


@pytest.mark.case("C42")
def test_a_namespace_deleted_under_the_run_is_named_and_the_run_resumed(
    on_kind, demo, new_name, cluster, until
):
    run_id, namespace = new_name("ns"), new_name("ttg-gone")
    running = on_kind.start(
        *demo(backend="rabbitmq", name=run_id, namespace=namespace, parameters_total=120, work_ms=300)
    )
    until(lambda: on_kind.accounted(run_id) >= 10, within_seconds=RUN_SECONDS)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    began = time.monotonic()
    done = running.wait(within_seconds=RUN_SECONDS)
    assert done.code == 4, done.err
    last = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(last) == 1
    assert f"the namespace {namespace} is" in last[0]
    assert f"ttgctl resume {run_id}" in last[0]
    assert time.monotonic() - began < 60
    resumed = on_kind("resume", run_id, "--output", "json", within_seconds=RUN_SECONDS)
    assert resumed.code == 0, resumed.err
    assert resumed.verdict["chunks"]["ok"] == 120
    assert cluster.uids(namespace, run_id) == set()
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.case("C43")
def test_one_stopped_node_is_not_the_cluster(on_kind, demo, new_name, cluster, namespace, until):
    run_id = new_name("node")
    running = on_kind.start(*demo(backend="redis", name=run_id, parameters_total=400, work_ms=500))
    until(lambda: on_kind.accounted(run_id) >= 5, within_seconds=RUN_SECONDS)
    running.send(signal.SIGKILL)
    running.wait()
    pods = cluster.objects("pods", namespace, run_id=run_id, component="worker")
    node = pods[0]["spec"]["nodeName"]
    subprocess.run(["docker", "stop", "--time", "1", node], check=True, capture_output=True)
    try:
        checks = on_kind("doctor", "--substrate", "kind", "--output", "json", within_seconds=RUN_SECONDS)
        assert f"one node is stopped: {node}" in checks.out
        done = on_kind("cleanup", run_id, "--force", within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
        assert cluster.uids(namespace, run_id) == set()
    finally:
        subprocess.run(["docker", "start", node], check=True, capture_output=True)
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        until(
            lambda: cluster.kubectl("get", "node", node, "-o", ready).stdout == "True",
            within_seconds=RUN_SECONDS,
        )


@pytest.mark.case("C45")
def test_a_reader_that_has_enough_leaves_nothing_on_the_cluster_unnamed(
    on_kind, demo, new_name, cluster, namespace
):
    run_id = new_name("head")
    arguments = demo(backend="rabbitmq", name=run_id, output="ndjson", parameters_total=400, work_ms=500)
    command = " ".join([on_kind.program, *arguments])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -5"],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["type"] == "started"
    assert f"ttgctl resume {run_id}" in done.stderr
    # Nothing runs; what is kept for the resume is what cleanup lists.
    assert cluster.objects("pods", namespace, run_id=run_id) == []
    listed = on_kind("cleanup", run_id, "--dry-run", within_seconds=RUN_SECONDS)
    assert "PersistentVolumeClaim" in listed.out
    assert on_kind("cleanup", run_id, "--force", within_seconds=RUN_SECONDS).code == 0
    assert cluster.uids(namespace, run_id) == set()


@pytest.mark.case("C40")
def test_a_function_that_can_not_start_in_its_pod_ends_the_run_with_its_line(
    on_kind, new_name, cluster, namespace, home
):
    (home / "imports.py").write_text(IMPORTS)
    (home / "six.yaml").write_text("parameters: {x: {range: [6]}}\n")
    run_id = new_name("import")
    began = time.monotonic()
    done = on_kind(
        "run", "--workload", "imports.py:f", "--parameters", "six.yaml", "--substrate", "kind",
        "--namespace", namespace, "--backend", "redis", "--name", run_id, "--output", "json",
        within_seconds=RUN_SECONDS,
    )  # fmt: skip
    assert done.code == 4, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "No module named 'psutil'" in line
    assert time.monotonic() - began < 90
    assert cluster.objects("pods", namespace, run_id=run_id) == []
    # What the pods wrote outlives them.
    assert "No module named 'psutil'" in on_kind("logs", run_id).out
    on_kind("cleanup", run_id, "--force", within_seconds=RUN_SECONDS)
