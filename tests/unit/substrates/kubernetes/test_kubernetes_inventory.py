from __future__ import annotations

from typing import Any

import pytest

from ttgctl.core.ports import MissingRequirement, OwnedResource, SubstrateError
from ttgctl.substrates.kubernetes import inventory, labels
from ttgctl.substrates.kubernetes.api import ApiRefused
from ttgctl.substrates.kubernetes.substrate import KubernetesSubstrate

OURS = labels.labels(name="redis", component="broker", backend="redis", run_id="r1")
LOOKALIKE = {**OURS, labels.MANAGED_BY: "helm"}


def item(kind: str, name: str, found: dict[str, str], **meta: Any) -> dict[str, Any]:
    created = "2026-11-24T10:00:00Z"
    return {
        "kind": kind,
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": found,
            "creationTimestamp": created,
            **meta,
        },
    }


class FakeApi:
    """Holds objects by kind; everything else of the namespace by ``(base, plural)``."""

    def __init__(self, objects: list[dict[str, Any]]) -> None:
        self.objects = objects
        self.others: dict[str, list[dict[str, Any]] | int] = {}
        self.deleted: list[str] = []
        self.namespace_status = 200

    def list(self, kind: str, namespace: str | None = None, *, selector: str = "") -> list[dict[str, Any]]:
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        return [
            each
            for each in self.objects
            if each["kind"] == kind and wanted.items() <= each["metadata"]["labels"].items()
        ]

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        if kind == "Namespace" and self.namespace_status != 200:
            raise ApiRefused("refused", status=self.namespace_status)
        found = [e for e in self.objects if (e["kind"], e["metadata"]["name"]) == (kind, name)]
        return found[0] if found else None

    def request(self, method: str, path: str, *, accept: str = "") -> dict[str, Any]:
        if path == "/api":
            return {"items": []}
        if path == "/apis":
            resources = [
                {"resource": plural, "scope": "Namespaced", "verbs": ["list"]} for plural in self.others
            ]
            return {
                "items": [
                    {"metadata": {"name": "g"}, "versions": [{"version": "v1", "resources": resources}]}
                ]
            }
        found = self.others[path.rpartition("/")[2]]
        if isinstance(found, int):
            raise ApiRefused("refused", status=found)
        return {"items": found}

    def delete(self, kind: str, name: str, namespace: str | None, *, uid: str) -> bool:
        self.deleted.append(name)
        self.objects = [each for each in self.objects if each["metadata"]["uid"] != uid]
        return True


def owned(api: FakeApi, run_id: str | None = None) -> list[OwnedResource]:
    return inventory.inventory(api, namespace="ttg", run_id=run_id)  # type: ignore[arg-type]


def namespace(*, made: bool = True) -> dict[str, Any]:
    marks = {labels.CREATED_BY: labels.MANAGER} if made else {}
    return item("Namespace", "ttg", labels.labels(name="ttgctl", component="namespace"), annotations=marks)


def test_controllers_come_before_their_pods_and_the_namespace_last() -> None:
    kinds = ["PersistentVolumeClaim", "Pod", "Secret", "Deployment", "StatefulSet"]
    api = FakeApi([item(kind, kind.lower(), OURS) for kind in kinds] + [namespace()])
    api.others["pods"] = []
    assert [resource.kind for resource in owned(api)] == [
        "Deployment",
        "StatefulSet",
        "Pod",
        "Secret",
        "PersistentVolumeClaim",
        "Namespace",
    ]


def test_another_manager_makes_it_foreign_and_no_label_makes_it_invisible() -> None:
    api = FakeApi([item("Pod", "a", OURS), item("Pod", "b", LOOKALIKE), item("Pod", "c", {"app": "other"})])
    assert {(r.name, r.foreign) for r in owned(api)} == {("a", False), ("b", True)}


def test_one_run_shows_neither_other_runs_nor_the_namespace() -> None:
    other = {**OURS, labels.RUN_LABEL: "r2"}
    api = FakeApi([item("Pod", "a", OURS), item("Pod", "b", other), namespace()])
    assert [r.name for r in owned(api, "r1")] == ["a"]


def test_a_resource_says_when_it_was_made_and_for_which_run() -> None:
    resource = owned(FakeApi([item("Pod", "a", OURS, namespace="ttg")]))[0]
    assert resource == OwnedResource(
        kind="Pod", name="a", uid="uid-a", run_id="r1", created_at=1795514400.0, namespace="ttg"
    )


@pytest.mark.parametrize(
    ("others", "foreign"),
    [
        ({"configmaps": [item("ConfigMap", "kube-root-ca.crt", {})]}, False),
        ({"configmaps": [item("ConfigMap", "mine", OURS)]}, False),
        ({"widgets": [item("Widget", "theirs", {})]}, True),
        ({"widgets": [item("Widget", "theirs", LOOKALIKE)]}, True),
        ({"pods": [item("Pod", "made", {}, ownerReferences=[{"controller": True}])]}, False),
        ({"events": [item("Event", "e", {})]}, True),
        ({"secrets": 403}, True),
        ({"bindings": 405}, False),
        ({}, True),
    ],
)
def test_the_namespace_is_ours_as_long_as_nothing_of_anybody_else_is_in_it(
    others: dict[str, Any], foreign: bool
) -> None:
    api = FakeApi([namespace()])
    api.others = others
    if "events" in others:
        # Records are no things; without any other kind, nothing could be looked at.
        api.others["pods"] = []
        foreign = False
    assert [(r.kind, r.foreign) for r in owned(api)] == [("Namespace", foreign)]


def test_a_namespace_that_was_there_before_is_not_listed() -> None:
    assert owned(FakeApi([namespace(made=False)])) == []


def test_who_may_not_look_at_namespaces_did_not_make_this_one() -> None:
    api = FakeApi([item("Pod", "a", OURS)])
    api.namespace_status = 403
    assert [r.name for r in owned(api)] == ["a"]


def substrate_on(api: FakeApi) -> KubernetesSubstrate:
    substrate = KubernetesSubstrate(context="c", namespace="ttg")
    substrate._connected = api  # type: ignore[assignment]
    return substrate


def test_foreign_things_are_never_deleted_even_if_asked() -> None:
    api = FakeApi([item("Pod", "b", LOOKALIKE)])
    with pytest.raises(SubstrateError, match="left alone"):
        substrate_on(api).delete(owned(api)[0])
    assert api.deleted == []


def test_a_namespace_into_which_somebody_put_something_meanwhile_stays() -> None:
    api = FakeApi([namespace()])
    api.others = {"pods": []}
    listed = owned(api)[0]
    api.others = {"pods": [item("Pod", "late", {})]}
    with pytest.raises(SubstrateError, match="pods/late"):
        substrate_on(api).delete(listed)
    assert api.deleted == []


@pytest.mark.parametrize(
    ("context", "fix"), [("kind-mine", "--substrate kind --cluster mine"), ("prod", "registry")]
)
def test_without_an_image_for_the_workers_it_says_where_one_comes_from(context: str, fix: str) -> None:
    with pytest.raises(MissingRequirement, match=fix):
        KubernetesSubstrate(context=context).ensure(print)


def test_a_pod_that_went_with_its_controller_counts_as_deleted() -> None:
    api = FakeApi([item("Deployment", "d", OURS), item("Pod", "p", OURS)])
    substrate = substrate_on(api)
    deployment, pod = owned(api)
    assert substrate.delete(deployment) is True
    # What the cluster's garbage collection does meanwhile.
    api.objects.clear()
    api.delete = lambda *_, **__: False  # type: ignore[method-assign]
    assert substrate.delete(pod) is True
    unheard = OwnedResource(kind="Pod", name="x", uid="x", run_id="r1", created_at=None, namespace="ttg")
    assert substrate.delete(unheard) is False
