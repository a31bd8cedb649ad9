"""A cluster that is there already, by its kubeconfig context: one namespace, reached by port-forward."""

from __future__ import annotations

import json
import secrets
import signal
import urllib.request

from ttgctl.substrates.worker_image import image_files, image_name

RUN_SECONDS = 150.0


def test_a_run_by_context_uses_a_namespace_and_no_more(on_kind, demo, new_name, until, cluster, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    before = cluster.kubeconfig.read_bytes()
    namespace, run_id = f"ttg-e2e-{secrets.token_hex(3)}", new_name("context")
    done = on_kind(
        *demo(
            "--keep", backend="rabbitmq", name=run_id, substrate="auto", context=cluster.context,
            namespace=namespace, image=image_name(image_files()),
        ),
        within_seconds=RUN_SECONDS,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "substrate: context" in done.err
    verdict = done.verdict
    assert (verdict["lossless"], verdict["substrate"], verdict["chunks"]["ok"]) == (True, "context", 40)
    assert cluster.kubeconfig.read_bytes() == before
    # No port of a node is taken on a cluster that is not ours.
    (service,) = cluster.objects("services", namespace, run_id=run_id)
    assert service["spec"]["type"] == "ClusterIP"
    enforced = json.loads(cluster.kubectl("get", "namespace", namespace, "-o", "json").stdout)
    assert enforced["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    shown = on_kind.start("ui", run_id, "--no-browser")
    until(lambda: "press Ctrl-C" in shown.err or shown.process.poll() is not None)
    with urllib.request.urlopen(shown.out.strip(), timeout=20) as answer:
        assert b"RabbitMQ Management" in answer.read()
    shown.send(signal.SIGINT)
    assert shown.wait().code == 0

    removed = on_kind("cleanup", "--all", "--force", within_seconds=RUN_SECONDS)
    assert removed.code == 0, removed.err
    assert not cluster.namespace_exists(namespace)


def test_without_an_image_that_the_cluster_can_pull_nothing_is_made(
    on_kind, demo, new_name, cluster, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    namespace = f"ttg-e2e-{secrets.token_hex(3)}"
    arguments = demo(backend="redis", name=new_name("context"), context=cluster.context, namespace=namespace)
    done = on_kind(*arguments)
    assert done.code == 3
    assert "--image" in done.err
    assert not cluster.namespace_exists(namespace)


def test_a_context_that_is_not_there_is_said(on_kind, demo, new_name):
    done = on_kind(*demo(backend="redis", name=new_name("context"), context="nowhere", image="i:1"))
    assert done.code == 3
    assert "kubectl config get-contexts" in done.err
    assert "Traceback" not in done.err
