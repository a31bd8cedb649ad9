"""Every fault that needs a cluster, on a real one: it bites, it is proved, and nothing of it is left."""

from __future__ import annotations

import signal
import subprocess

import pytest

from ttgctl.domain.events import Fault

BACKENDS = ("rabbitmq", "redis")
RUN_SECONDS = 300.0


@pytest.fixture
def suffered(on_kind, demo, new_name):
    """The records of a run's faults, after it came out lossless and with each fault's effect seen."""

    def run(*faults: str, backend: str, **changes):
        words = [word for fault in faults for word in ("--fault", fault)]
        arguments = demo(
            "--require-effect", *words, backend=backend, name=new_name("fault"), lease_ms=2000, **changes
        )
        done = on_kind(*arguments, within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
        verdict = done.verdict
        assert verdict["lossless"] is True
        assert verdict["unmet"] == []
        assert all(fault["undone"] for fault in verdict["faults"])
        return verdict["faults"]

    return run


def seconds_silent(fault) -> float:
    return float(fault["effect"].rpartition("silent for ")[2].removesuffix(" s"))


def cuts(cluster) -> list[str]:
    """The packet filter rules that cut pods off, on all nodes."""
    nodes = cluster.kubectl("get", "nodes", "-o", "name").stdout.split()
    rules = []
    for node in nodes:
        argv = ["docker", "exec", node.removeprefix("node/"), "iptables", "-w", "-S", "FORWARD"]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        rules += [line for line in said.splitlines() if line.endswith("-j DROP")]
    return rules


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stopped_and_a_partitioned_worker_come_back(suffered, cluster, backend):
    faults = ("stop-worker at=10% duration=5s", "partition at=55% duration=5s")
    stopped, cut = suffered(*faults, backend=backend, parameters_total=160, work_ms=300)
    for fault in (stopped, cut):
        assert fault["node"].startswith(cluster.name)
        assert fault["replaced_seconds"] is None
        assert seconds_silent(fault) > 4
    assert (stopped["method"], stopped["effect"].partition(";")[0]) == ("SIGSTOP", "stopped")
    assert cut["method"] == f"packets dropped on node {cut['node']}"
    assert int(cut["effect"].partition(" packet")[0]) > 0
    assert not [rule for rule in cuts(cluster) if cut["uid"] in rule]


def test_a_slow_worker_stands_still_most_of_the_time(suffered):
    (fault,) = suffered(
        "slow-worker at=10% factor=4 duration=8s", backend="redis", parameters_total=100, work_ms=300
    )
    assert fault["effect"].startswith("stopped for ")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_broker_comes_back_as_another_pod(suffered, backend):
    (fault,) = suffered("kill-broker at=20% duration=1s", backend=backend, parameters_total=60)
    assert fault["effect"] == "uid changed"
    assert fault["replaced_seconds"] < 60


def test_a_stopped_node_comes_back(suffered, cluster):
    (fault,) = suffered("stop-node at=10% duration=5s", backend="redis", parameters_total=100, work_ms=300)
    assert fault["victim"].startswith(f"{cluster.name}-worker")
    assert fault["method"] == "container killed"
    assert fault["effect"].startswith("container exited")
    ready = cluster.kubectl(
        "get", "node", fault["victim"], "-o", "jsonpath={.status.conditions[-1].status}"
    ).stdout
    assert ready == "True"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_partitioned_worker_is_let_through_by_an_interrupt_or_by_resume(
    on_kind, demo, new_name, cluster, until, how
):
    name = new_name("cut")
    running = on_kind.start(
        *demo("--fault", "partition at=5% duration=100s", backend="redis", name=name, parameters_total=200)
    )
    told = until(
        lambda: [e.record for e in on_kind.events(name) if isinstance(e, Fault) and e.record.victim],
        within_seconds=RUN_SECONDS,
    )
    uid = told[-1].uid
    assert [rule for rule in cuts(cluster) if uid in rule]
    running.send(how)
    done = running.wait(within_seconds=RUN_SECONDS)
    if how is signal.SIGINT:
        assert done.code == 130
        assert [e.record for e in on_kind.events(name) if isinstance(e, Fault)][-1].undone
    else:
        assert [rule for rule in cuts(cluster) if uid in rule]
        done = on_kind("resume", name, "--output", "json", "--keep", within_seconds=RUN_SECONDS)
        assert done.code == 0, done.err
    assert not [rule for rule in cuts(cluster) if uid in rule]
    assert on_kind("cleanup", name, "--force", within_seconds=RUN_SECONDS).code == 0
