"""What faults ask of a cluster, and what they report, against an API that does as it is told."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ttgctl.core.ports import SubstrateError, WorkerStatus
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.kind.cluster import KindCluster
from ttgctl.substrates.kubernetes import labels
from ttgctl.substrates.kubernetes.api import ApiAway, ApiRefused
from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate

RUN = "one"
WORKER = WorkerStatus(worker_id="w-1", uid="uid-1", running=True, node="n1")
TOGETHER = labels.labels(name="ttg-worker", component="worker", backend="redis", run_id=RUN)


def pod(name: str = "w-1", uid: str = "uid-1") -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": uid, "namespace": "ttg", "labels": dict(TOGETHER)},
        "spec": {"nodeName": "n1"},
        "status": {"containerStatuses": [{"state": {"running": {}}}]},
    }


class FakeApi:
    """Holds objects; ``broken`` has the errors of verbs, ``answer`` what a command in a pod writes."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects = list(objects)
        self.broken: dict[str, SubstrateError] = {}
        self.answer = ""
        self.scripts: list[str] = []
        self.allowed = True

    def _may_fail(self, verb: str) -> None:
        if verb in self.broken:
            raise self.broken[verb]

    def names(self, kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.objects if item["kind"] == kind]

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        found = [e for e in self.objects if (e["kind"], e["metadata"]["name"]) == (kind, name)]
        return copy.deepcopy(found[0]) if found else None

    def list(self, kind: str, namespace: str | None = None, *, selector: str = "") -> list[dict[str, Any]]:
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        return [
            each
            for each in self.objects
            if each["kind"] == kind and wanted.items() <= each["metadata"]["labels"].items()
        ]

    def apply(self, manifest: dict[str, Any]) -> None:
        self._may_fail("apply")
        manifest["metadata"].setdefault("uid", f"uid-of-{manifest['metadata']['name']}")
        self.objects.append(manifest)

    def patch(self, kind: str, name: str, namespace: str, body: dict[str, Any]) -> None:
        self._may_fail("patch")
        (item,) = [e for e in self.objects if (e["kind"], e["metadata"]["name"]) == (kind, name)]
        assert item["metadata"]["uid"] == body["metadata"]["uid"]
        for label, value in body["metadata"]["labels"].items():
            item["metadata"]["labels"].pop(label, None)
            if value is not None:
                item["metadata"]["labels"][label] = value

    def delete(
        self, kind: str, name: str, namespace: str | None, *, uid: str, grace_seconds: int | None = None
    ) -> bool:
        self._may_fail("delete")
        before = len(self.objects)
        self.objects = [each for each in self.objects if each["metadata"]["uid"] != uid]
        return len(self.objects) < before

    def exec(self, name: str, namespace: str, argv: list[str]) -> str:
        self.scripts.append(argv[-1])
        self._may_fail("exec")
        return self.answer

    def pod_log(self, name: str, namespace: str, *, lines: int | None = None) -> str:
        return ""

    def may(self, verb: str, resource: str, **_: str) -> bool:
        return self.allowed or (verb, resource) != ("delete", "networkpolicies")


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(pod())


@pytest.fixture
def cluster(api: FakeApi) -> KubernetesSubstrate:
    substrate = KubernetesSubstrate(context="c", namespace="ttg")
    substrate._connected = api  # type: ignore[assignment]
    return substrate


def test_a_cut_selects_the_very_pod_and_allows_nothing(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    evidence = cluster.isolate(WORKER)
    assert (evidence.method, evidence.uid, evidence.effect) == ("NetworkPolicy", "uid-1", None)
    assert "not to enforce" in str(evidence.without_effect)
    (policy,) = api.list("NetworkPolicy")
    assert policy["spec"] == {
        "podSelector": {"matchLabels": {labels.CUT_LABEL: "uid-1"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert labels.is_ours(policy)
    assert policy["metadata"]["labels"][labels.RUN_LABEL] == RUN
    (victim,) = api.list("Pod")
    assert victim["metadata"]["labels"] == {**TOGETHER, labels.CUT_LABEL: "uid-1"}


def test_a_rejoin_leaves_nothing_of_the_cut_and_may_come_twice(
    api: FakeApi, cluster: KubernetesSubstrate
) -> None:
    before = copy.deepcopy(api.objects)
    cluster.isolate(WORKER)
    assert cluster.rejoin(WORKER) is None
    assert api.objects == before
    cluster.rejoin(WORKER)


def test_the_policy_goes_though_the_pod_is_gone_and_another_has_its_name(
    api: FakeApi, cluster: KubernetesSubstrate
) -> None:
    cluster.isolate(WORKER)
    api.objects = [e for e in api.objects if e["kind"] != "Pod"] + [pod(uid="uid-2")]
    cluster.rejoin(WORKER)
    assert api.objects == [pod(uid="uid-2")]


def test_a_cut_that_failed_half_way_leaves_nothing(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    api.broken["patch"] = ApiRefused("no", status=403)
    with pytest.raises(SubstrateError):
        cluster.isolate(WORKER)
    assert api.names("NetworkPolicy") == []


def test_what_a_killed_command_left_is_undone_before_workers_start(
    api: FakeApi, cluster: KubernetesSubstrate
) -> None:
    spec = RunSpec(
        run_id=RUN,
        backend="redis",
        substrate="context",
        parameters_total=1,
        chunk_size=1,
        faults=("partition at=1s", "stop-worker at=1s"),
    )
    api.objects.append(pod("w-2", "uid-2"))
    cluster.isolate(WORKER)
    cluster.isolate(WorkerStatus(worker_id="w-2", uid="uid-2", running=True))
    api.objects = [e for e in api.objects if e["metadata"]["name"] != "w-2"]
    cluster._undo_old_faults(spec)
    assert api.objects == [pod()]
    assert api.scripts == ["kill -CONT -1"]


def test_a_stopped_worker_that_cannot_be_told_to_go_on_is_replaced(
    api: FakeApi, cluster: KubernetesSubstrate
) -> None:
    api.broken["exec"] = ApiRefused("no such container", status=500)
    spec = RunSpec(
        run_id=RUN,
        backend="redis",
        substrate="context",
        parameters_total=1,
        chunk_size=1,
        faults=("slow-worker at=1s",),
    )
    cluster._undo_old_faults(spec)
    assert api.objects == []


def test_without_the_right_to_end_a_cut_none_is_made(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    assert cluster.why_not("partition") is None
    api.allowed = False
    said = str(cluster.why_not("partition"))
    assert said == "partition: this user may not delete networkpolicies in namespace ttg"


@pytest.mark.parametrize(("answer", "effect"), [("stopped\n", "stopped"), ("", None)])
def test_a_pause_has_the_effect_that_was_seen_in_the_pod(
    api: FakeApi, cluster: KubernetesSubstrate, answer: str, effect: str | None
) -> None:
    api.answer = answer
    evidence = cluster.pause(WORKER)
    assert (evidence.method, evidence.effect) == ("SIGSTOP", effect)


def test_a_pod_without_a_process_was_not_paused(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    api.answer = "sh: kill: No such process\nrefused\n"
    with pytest.raises(SubstrateError, match="no process"):
        cluster.pause(WORKER)


def test_a_pause_of_which_nobody_heard_is_undone(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    api.broken["exec"] = ApiAway("gone")
    with pytest.raises(SubstrateError, match="gone"):
        cluster.pause(WORKER)
    assert api.scripts[-1] == "kill -CONT -1"


def test_a_kill_is_seen_by_the_pod_that_is_gone(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    evidence = cluster.kill(WORKER)
    assert (evidence.effect, api.scripts) == ("process gone", ["kill -KILL -1"])
    assert evidence.method.startswith("SIGKILL")
    assert api.objects == []


def test_a_kill_after_which_the_api_went_away_was_a_kill(api: FakeApi, cluster: KubernetesSubstrate) -> None:
    api.broken["delete"] = ApiAway("gone")
    evidence = cluster.kill(WORKER)
    assert evidence.method == "SIGKILL; the pod could not be deleted (gone)"
    assert evidence.effect is None
    api.broken["exec"] = ApiRefused("no", status=403)
    with pytest.raises(SubstrateError, match="gone"):
        cluster.kill(WORKER)


class Node:
    """A node's container, which runs no command but writes each down."""

    def __init__(self, said: bytes = b"", code: int = 0) -> None:
        self.name, self.status, self.labels = "n1", "running", {"io.x-k8s.kind.role": "worker"}
        self.scripts: list[str] = []
        self.said, self.code = said, code

    def exec_run(self, argv: list[str]) -> tuple[int, bytes]:
        self.scripts.append(argv[-1])
        return self.code, self.said


@pytest.fixture
def kind_cluster(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> KindCluster:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return KindCluster("none", workers=1, node_image="i")


@pytest.mark.parametrize(
    ("said", "dropped"),
    [
        (b"", 0),
        (
            b"      12      720 DROP  0 -- * * 0.0.0.0/0 10.1.2.3  /* uid-1 */\n"
            b"       3      180 DROP  0 -- * * 10.1.2.3 0.0.0.0/0  /* uid-1 */\n",
            15,
        ),
    ],
)
def test_the_packets_that_a_cut_dropped_are_counted(
    kind_cluster: KindCluster, monkeypatch: pytest.MonkeyPatch, said: bytes, dropped: int
) -> None:
    node = Node(said)
    monkeypatch.setattr(kind_cluster, "nodes", lambda: [node])
    assert kind_cluster.let_through(node="n1", mark="uid-1") == dropped
    assert kind_cluster.let_through(node="another", mark="uid-1") == 0


def test_half_a_cut_on_a_node_is_taken_back(
    kind_cluster: KindCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(b"iptables: no\n", 1)
    monkeypatch.setattr(kind_cluster, "nodes", lambda: [node])
    with pytest.raises(SubstrateError, match="refused"):
        kind_cluster.cut_off(node="n1", address="10.1.2.3", mark="uid-1")
    assert "-I FORWARD" in node.scripts[0]
    assert "-D" in node.scripts[1]
