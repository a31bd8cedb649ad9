"""Fixed shares as the cluster substrates see them, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from ttgctl.core.ports import OwnedResource, SubstrateError
from ttgctl.core.records.run_folder import run_folder
from ttgctl.domain.fault_kinds import FAULT_KINDS
from ttgctl.domain.run import Placement, RunSpec
from ttgctl.substrates.kind.substrate import KindSubstrate
from ttgctl.substrates.kubernetes import checks, labels
from ttgctl.substrates.kubernetes.api import ApiRefused
from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate
from ttgctl.substrates.local import substrate as local_substrate

SPEC = RunSpec(
    run_id="r1",
    backend="static",
    substrate="context",
    placement=Placement(context="c", namespace="mine"),
    parameters_total=10,
    chunk_size=1,
    workers=3,
)


class FakeApi:
    """Holds pods; remembers what was patched."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.patched: list[tuple[str, Any]] = []
        self.refused: set[str] = set()

    def list(self, kind: str, namespace: str | None = None, *, selector: str = "") -> list[dict[str, Any]]:
        return self.pods if kind == "Pod" else []

    def patch(self, kind: str, name: str, namespace: str, body: Any) -> None:
        if kind == "Deployment":
            raise ApiRefused("there is none", status=404)
        self.patched.append((kind, body))
        self.pods = [pod for pod in self.pods if pod["status"]["phase"] in ("Failed", "Succeeded")]

    def pod_log(self, name: str, namespace: str, *, lines: int | None = None) -> str:
        return ""

    def may(self, verb: str, resource: str, *, subresource: str = "", **_: Any) -> bool:
        return f"{verb} {resource}/{subresource}".rstrip("/") not in self.refused

    def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"gitVersion": "v1.34.4"}

    def get(self, *_: Any) -> None:
        """There is nothing of that name."""

    def close(self) -> None: ...


def pod(name: str, phase: str) -> dict[str, Any]:
    own = labels.labels(name="ttg-worker", component="worker", backend="static", run_id="r1")
    state = {"running": {}} if phase == "Running" else {"waiting": {"reason": "ContainerCreating"}}
    if phase == "Failed":
        state = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "mine", "labels": own},
        "spec": {},
        "status": {"phase": phase, "containerStatuses": [{"state": state}]},
    }


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def substrate(api, tmp_path, monkeypatch) -> KubernetesSubstrate:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = KubernetesSubstrate(context="c", namespace="mine", image="w:1", backend="static")
    found._connected = api
    return found


def nothing(line: str) -> None: ...


def test_there_is_no_broker_and_the_cluster_is_not_asked_for_one(substrate):
    substrate._connected = None
    endpoint = substrate.start_broker(SPEC, nothing)
    assert endpoint.host_url.startswith(f"static://{run_folder('r1').local}")
    assert endpoint.worker_url.endswith("?workers=3&share=$(JOB_COMPLETION_INDEX)")
    assert endpoint.management_url is None
    assert substrate.broker_uid(SPEC) is None
    substrate.stop_broker(SPEC)


@pytest.mark.parametrize("kind", [kind for kind, row in FAULT_KINDS.items() if row.between_workers])
def test_faults_of_a_broker_hit_nothing_on_any_cluster(substrate, kind):
    for each in (substrate, KindSubstrate(backend="static")):
        assert each.why_not(kind) == f"{kind}: fixed shares have no broker"
    with pytest.raises(SubstrateError):
        substrate.kill_broker(SPEC)


def test_workers_and_nodes_suffer_as_with_a_queue(substrate):
    assert substrate.why_not("kill-worker") is None
    assert "only the nodes of a Kind cluster" in substrate.why_not("stop-node")
    assert KindSubstrate(backend="static").why_not("stop-node") is None


def test_who_may_not_talk_to_pods_is_told_before_anything_starts(substrate, api, monkeypatch):
    monkeypatch.setattr(substrate, "connect", lambda: api)
    assert {problem.status for problem in substrate.preflight()} == {"ok"}
    api.refused = {"get pods/exec"}
    (failed,) = [problem for problem in substrate.preflight() if problem.status == "fail"]
    assert "get pods/exec" in failed.detail
    assert {p.status for p in checks.context_checks(lambda: api, context="c", namespace="mine")} == {"ok"}


def test_workers_end_with_their_job_and_what_has_ended_is_not_waited_for(substrate, api):
    api.pods = [pod("a", "Running"), pod("b", "Failed")]
    substrate.stop_workers("r1")
    assert api.patched == [("Job", {"spec": {"suspend": True}})]


def test_a_pod_is_awaited_until_it_runs_and_is_heard(substrate, api):
    api.pods = [pod("a", "Pending"), pod("b", "Running"), pod("c", "Failed")]

    class HearsB:
        def hears(self, uid: str) -> bool:
            return uid == "uid-b"

    def awaited() -> list[bool]:
        return [worker.awaited for worker in substrate.workers("r1")]

    assert awaited() == [True, False, False]
    substrate._relays["r1"] = HearsB()
    assert awaited() == [True, False, False]
    api.pods[1]["metadata"]["uid"] = "uid-of-another"
    assert awaited() == [True, True, False]
    substrate._relays.clear()


def folders(found: list[OwnedResource]) -> list[str]:
    return [resource.name for resource in found if resource.kind == "folder"]


def test_the_files_of_shares_are_owned_where_the_run_is_and_nowhere_else(substrate, monkeypatch):
    monkeypatch.setattr(local_substrate.processes, "find", lambda *_: [])
    run_folder("r1").write_spec(SPEC)
    substrate.start_broker(SPEC, nothing)
    expected = str(run_folder("r1").local)
    assert folders(substrate.owned()) == folders(substrate.owned("r1")) == [expected]
    assert folders(substrate.owned("r2")) == []
    elsewhere = KubernetesSubstrate(context="c", namespace="other")
    elsewhere._connected = substrate._connected
    assert folders(elsewhere.owned()) == []
    assert folders(local_substrate.LocalSubstrate().owned()) == []
    (resource,) = [r for r in substrate.owned("r1") if r.kind == "folder"]
    assert substrate.delete(resource) is True
    assert substrate.delete(resource) is False
    assert not run_folder("r1").local.exists()
