"""A worker pod cut off from all others by a NetworkPolicy, on any cluster that enforces them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.kubernetes import labels
from ttgctl.substrates.kubernetes.api import ApiRefused, KubeApi
from ttgctl.substrates.kubernetes.manifests import network_cut_object

# ``(verb, resource, group)`` of what it takes; an object is applied by patch and create.
PERMISSIONS: Final = (
    *((verb, "networkpolicies", "networking.k8s.io") for verb in ("create", "patch", "delete")),
    ("patch", "pods", ""),
)


def cut_off(api: KubeApi, pod: dict[str, Any]) -> None:
    """Makes the policy, which nobody carries the label of, then gives the pod this label.

    The policy has the labels of the pod's run, so that cleanup finds it.
    """
    meta = pod["metadata"]
    policy = network_cut_object(pod)
    api.apply(policy)
    try:
        _label(api, pod, meta["uid"])
    except SubstrateError:
        # Nobody undoes what did not happen.
        with suppress(SubstrateError):
            let_through(api, name=meta["name"], namespace=meta["namespace"], uid=meta["uid"])
        raise


def let_through(api: KubeApi, *, name: str, namespace: str, uid: str) -> None:
    """Undoes :func:`cut_off` of the pod of that name and uid; fine with what is undone, or gone."""
    for policy in _policies(api, namespace, f"{labels.CUT_LABEL}={uid}"):
        _delete(api, policy)
    pod = api.get("Pod", name, namespace)
    if pod is not None and pod["metadata"]["uid"] == uid and labels.CUT_LABEL in pod["metadata"]["labels"]:
        _label(api, pod, None)


def let_all_through(api: KubeApi, *, namespace: str, run_id: str) -> None:
    """Removes every such policy of a run, whose pods may be gone."""
    for policy in _policies(api, namespace, labels.selector(run_id=run_id, component="network-cut")):
        _delete(api, policy)


def _policies(api: KubeApi, namespace: str, selector: str) -> list[dict[str, Any]]:
    return [p for p in api.list("NetworkPolicy", namespace, selector=selector) if labels.is_ours(p)]


def _delete(api: KubeApi, policy: dict[str, Any]) -> None:
    meta = policy["metadata"]
    api.delete("NetworkPolicy", meta["name"], meta["namespace"], uid=meta["uid"])


def _label(api: KubeApi, pod: dict[str, Any], value: str | None) -> None:
    meta = pod["metadata"]
    body = {"metadata": {"uid": meta["uid"], "labels": {labels.CUT_LABEL: value}}}
    try:
        api.patch("Pod", meta["name"], meta["namespace"], body)
    except ApiRefused as error:
        # A pod that is gone needs no label taken off.
        if value is not None or error.status not in (404, 409):
            raise
