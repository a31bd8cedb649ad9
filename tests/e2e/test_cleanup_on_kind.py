"""Cleanup lists first, deletes what it listed and nothing else, on a cluster that others use as well."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ttgctl.substrates import docker_engine

RUN_SECONDS = 150.0
COMMAND = Path(sys.executable).with_name("ttgctl")
OURS = {"ttg.io/project": "distributed-compute", "app.kubernetes.io/managed-by": "ttgctl"}
SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def manifest(kind, name, labels, **more):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": labels}, **more}


def pod_of_another_project(name):
    container = {"name": "c", "image": "redis:8", "command": ["sleep", "3600"], "securityContext": SECURITY}
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return manifest("Pod", name, {"app": "another-project"}, spec=spec)


def listed(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def containers_and_images():
    client = docker_engine.connect()
    try:
        nodes = client.containers.list(filters={"label": "io.x-k8s.kind.cluster=ttg-sandbox"})
        images = [tag for image in client.images.list("ttgctl-worker") for tag in image.tags]
        return {node.id for node in nodes}, set(images)
    finally:
        client.close()


@pytest.fixture
def own_namespaces(cluster):
    """One that ttgctl makes, and one that was there before."""
    names = [f"ttg-e2e-{secrets.token_hex(3)}" for _ in range(2)]
    cluster.kubectl("create", "namespace", names[1])
    yield names
    cluster.kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false")


def test_what_cleanup_lists_goes_and_the_rest_stays(on_kind, demo, new_name, cluster, own_namespaces):
    made, there_before = own_namespaces
    tiny = {"backend": "redis", "parameters_total": 2, "workers": 1, "work_ms": 1}
    one, two, three, four = (new_name(kind) for kind in ("one", "two", "three", "local"))
    commands = [
        on_kind.start(*demo("--keep", name=one, namespace=made, **tiny)),
        on_kind.start(*demo("--keep", name=two, namespace=made, **tiny)),
        on_kind.start(*demo("--keep", name=three, namespace=there_before, **tiny)),
        on_kind.start(*demo("--keep", name=four, substrate="local", **tiny)),
    ]
    for command in commands:
        done = command.wait(within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
    another = cluster.create(made, pod_of_another_project("another"))
    lookalike = {**OURS, "app.kubernetes.io/managed-by": "Helm", "ttg.io/run-id": one}
    foreign = cluster.create(made, manifest("ConfigMap", "lookalike", lookalike))
    before = cluster.uids(made) | cluster.uids(there_before)
    around = containers_and_images()

    # A dry run shows all, with what it is, and changes nothing.
    began = time.monotonic()
    everything = listed(on_kind("cleanup", "--dry-run", "--output", "json"))
    print(f"cleanup --dry-run of 3 runs in two namespaces took {time.monotonic() - began:.2f} s")
    mine = [item for item in everything if not item["foreign"]]
    assert {item["run_id"] for item in mine if item["run_id"]} == {one, two, three, four}
    assert {item["kind"] for item in mine} >= {
        "Deployment", "StatefulSet", "Pod", "Service", "NetworkPolicy", "ConfigMap", "Secret",
        "PersistentVolumeClaim", "process", "folder",
    }  # fmt: skip
    assert all(item["uid"] and item["created_at"] for item in mine)
    assert {(item["kind"], item["name"]) for item in everything if item["foreign"]} == {
        ("ConfigMap", "lookalike"),
        ("Namespace", made),
    }
    assert another not in {item["uid"] for item in everything}
    shown = on_kind("cleanup", one, "--dry-run")
    assert shown.out.split("\n")[0].split() == ["KIND", "NAMESPACE", "NAME", "UID", "AGE", "RUN"]
    assert "10 objects of ttgctl" in shown.out
    assert "foreign" in shown.out

    # Without --force it asks, and no answer is a no.
    asked = on_kind("cleanup", one)
    assert "Delete these 10?" in asked.err
    assert cluster.uids(made) | cluster.uids(there_before) == before

    # One run goes, the one beside it stays.
    of_one = cluster.uids(made, one) - {foreign}
    removed = on_kind("cleanup", one, "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert "10 deleted, 0 failed, 0 already gone, 0 still there" in removed.err
    assert cluster.uids(made) | cluster.uids(there_before) == before - of_one

    # All go, on this machine too; what is not ours stays, and so does the namespace that holds it.
    removed = on_kind("cleanup", "--all", "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert {another, foreign} <= cluster.uids(made)
    for run_id in (one, two, three):
        assert cluster.uids(made, run_id) | cluster.uids(there_before, run_id) <= {foreign}
    assert on_kind.processes() == []
    assert not on_kind.folder(four).local.exists()
    assert cluster.namespace_exists(there_before)
    again = on_kind("cleanup", "--all", "--force")
    assert again.code == 0, again.err

    # With the others' things gone, the namespace that ttgctl made goes as well.
    cluster.kubectl("delete", "-n", made, "pod/another", "configmap/lookalike")
    removed = on_kind("cleanup", "--all", "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert not cluster.namespace_exists(made)
    assert cluster.namespace_exists(there_before)
    assert containers_and_images() == around


def test_what_took_the_name_of_a_listed_object_stays_and_is_told(ttgctl, cluster, own_namespaces, until):
    _, namespace = own_namespaces
    labels = {**OURS, "ttg.io/run-id": "earlier"}
    cluster.create(namespace, manifest("ConfigMap", "replaced", labels))
    said = ttgctl.home / "said"
    with said.open("wb") as stderr:
        asking = subprocess.Popen(
            [str(COMMAND), "cleanup", "--all", "--namespace", namespace],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    until(lambda: "Delete these 1?" in said.read_text())
    cluster.kubectl("delete", "-n", namespace, "configmap/replaced")
    newer = cluster.create(namespace, manifest("ConfigMap", "replaced", labels))
    asking.communicate(b"y\n", timeout=60)
    assert asking.returncode == 4
    assert "0 deleted, 0 failed, 1 already gone, 1 still there" in said.read_text()
    assert newer in cluster.uids(namespace)

    gone = ttgctl("cleanup", "--all", "--namespace", namespace, "--force")
    assert gone.code == 0, gone.err
    assert newer not in cluster.uids(namespace)
    assert cluster.namespace_exists(namespace)
