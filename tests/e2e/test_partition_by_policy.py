"""A worker cut off by a NetworkPolicy, on a cluster that is reached by its context and is not ttgctl's."""

from __future__ import annotations

import json
import signal

import pytest

from ttgctl.domain.events import Fault
from ttgctl.substrates.worker_image import image_files, image_name

RUN_SECONDS = 200.0


@pytest.fixture
def by_context(demo, cluster, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))

    def arguments(fault: str, *flags: str, **changes):
        where = {"substrate": "context", "context": cluster.context, "image": image_name(image_files())}
        return demo("--fault", fault, *flags, backend="redis", **where, **changes)

    return arguments


@pytest.fixture
def policies(cluster, namespace):
    def of(run_id: str):
        return cluster.objects("netpol", namespace, run_id=run_id, component="network-cut")

    return of


def cut_off(cluster, namespace, run_id: str) -> list[str]:
    """The uids of the run's pods that carry the label of a cut."""
    pods = cluster.objects("pods", namespace, run_id=run_id)
    return [pod["metadata"]["uid"] for pod in pods if "ttg.io/cut-off" in pod["metadata"]["labels"]]


def test_it_is_made_and_removed_and_its_effect_is_told_honestly(
    on_kind, by_context, policies, new_name, cluster, namespace, until
):
    name = new_name("policy")
    running = on_kind.start(
        *by_context(
            "partition at=5% duration=6s", "--require-effect", name=name, parameters_total=120, work_ms=300
        )
    )
    (policy,) = until(lambda: policies(name), within_seconds=RUN_SECONDS)
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"].keys() == {"podSelector", "policyTypes"}
    (victim,) = until(lambda: cut_off(cluster, namespace, name))
    assert policy["spec"]["podSelector"]["matchLabels"] == {"ttg.io/cut-off": victim}
    until(lambda: not policies(name) and not cut_off(cluster, namespace, name), within_seconds=RUN_SECONDS)

    done = running.wait(within_seconds=RUN_SECONDS)
    (fault,) = done.verdict["faults"]
    assert done.verdict["lossless"] is True
    assert (fault["uid"], fault["method"], fault["undone"]) == (victim, "NetworkPolicy", True)
    # Both kinds of cluster are there in the world; what may not be is a record that says otherwise.
    if fault["effect"] is None:
        assert "seems not to enforce NetworkPolicies" in fault["note"]
        assert done.code == 4
        assert on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS).code == 0
    else:
        assert fault["effect"].startswith("silent for ")
        assert done.code == 0, done.err
    assert cluster.uids(namespace, name) == set()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_it_does_not_outlive_the_command_or_the_run(
    on_kind, by_context, policies, new_name, cluster, namespace, until, how
):
    name = new_name("policy")
    running = on_kind.start(
        *by_context("partition at=5% duration=100s", name=name, parameters_total=100, work_ms=300)
    )
    until(
        lambda: (
            running.process.poll() is not None
            or [e for e in on_kind.events(name) if isinstance(e, Fault) and e.record.victim]
        ),
        within_seconds=RUN_SECONDS,
    )
    (policy,) = policies(name)
    running.send(how)
    done = running.wait(within_seconds=RUN_SECONDS)
    if how is signal.SIGINT:
        assert done.code == 130
        assert policies(name) == []
    else:
        listed = json.loads(on_kind("cleanup", name, "--dry-run", "--output", "json").out)
        assert ("NetworkPolicy", policy["metadata"]["name"]) in [(r["kind"], r["name"]) for r in listed]
        resumed = on_kind.start("resume", name, "--output", "json", "--keep")
        until(lambda: not policies(name), within_seconds=RUN_SECONDS)
        done = resumed.wait(within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
        assert cut_off(cluster, namespace, name) == []
    assert on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS).code == 0
    assert cluster.uids(namespace, name) == set()
