"""A cluster from nothing, used again, and started again after its containers stopped."""

from __future__ import annotations

import secrets
import subprocess
import time

import pytest

from ttgctl.substrates import docker_engine

# Other sessions of these tests on the same engine have clusters of their own.
CLUSTER = f"ttg-e2e-stop-{secrets.token_hex(2)}"
RUN_SECONDS = 300.0


def nodes(client):
    found = client.containers.list(all=True, filters={"label": f"io.x-k8s.kind.cluster={CLUSTER}"})
    return sorted(found, key=lambda node: node.name)


def delete_cluster():
    subprocess.run(["kind", "delete", "cluster", "--name", CLUSTER], check=True, capture_output=True)


@pytest.fixture
def docker(kind_possible):
    delete_cluster()
    client = docker_engine.connect()
    yield client
    client.close()
    delete_cluster()


def test_a_cluster_is_made_used_and_started_again(on_kind, demo, new_name, docker):
    tiny = {
        "cluster": CLUSTER, "nodes": 1, "namespace": "ttg", "backend": "redis", "parameters_total": 4,
        "workers": 1, "work_ms": 1,
    }  # fmt: skip
    first = new_name("first")
    began = time.time()
    done = on_kind(*demo("--keep", name=first, **tiny), within_seconds=RUN_SECONDS)
    assert done.code == 0, done.err
    assert done.verdict["lossless"] is True
    assert f"creating the Kind cluster {CLUSTER}: a control plane and 1 workers" in done.err
    made = nodes(docker)
    assert [node.name for node in made] == [f"{CLUSTER}-control-plane", f"{CLUSTER}-worker"]
    delivered = next(
        e.at for e in on_kind.events(first) if getattr(e, "snapshot", None) and e.snapshot.accounted
    )
    print(f"from no cluster to the first result: {delivered - began:.1f} s")

    for node in made:
        node.stop(timeout=5)
    # What is in a stopped cluster can't be seen, which must not look like nothing.
    blind = on_kind("cleanup", first, "--dry-run")
    assert blind.code == 4
    assert "docker start" in blind.err
    seen = {line["check"]: line for line in on_kind("doctor", "--cluster", CLUSTER, "-o", "json").verdict}
    assert seen["cluster"]["detail"] == f"{CLUSTER} is stopped; a run starts it"
    again = on_kind(*demo(name=new_name("again"), **tiny), within_seconds=RUN_SECONDS)
    assert again.code == 0, again.err
    assert again.verdict["lossless"] is True
    assert "starting 2 stopped nodes" in again.err
    assert [node.id for node in nodes(docker)] == [node.id for node in made]

    # The first run's broker came back with the cluster, and its results with it.
    verified = on_kind("verify", first, "--output", "json")
    assert verified.code == 0, verified.err
    removed = on_kind("cleanup", "--all", "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert "Namespace ttg" in removed.err
    assert [(node.id, node.status) for node in nodes(docker)] == [(node.id, "running") for node in made]
