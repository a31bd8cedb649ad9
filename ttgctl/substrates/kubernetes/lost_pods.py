"""Pods that are to end on a node that is away: nobody there will ever say that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ttgctl.substrates.kubernetes import pods
from ttgctl.substrates.kubernetes.api import ApiRefused, KubeApi
from ttgctl.substrates.kubernetes.pod_faults import delete_pod

# Names of the nodes that are away at the moment.
NodesAway = Callable[[], set[str]]


def nodes_away(api: KubeApi) -> set[str]:
    """Those that the cluster has not heard of for its own grace; none where this user may not see nodes."""
    try:
        found = api.list("Node")
    except ApiRefused:
        return set()
    return {node["metadata"]["name"] for node in found if not is_ready(node)}


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def let_go(api: KubeApi, found: Iterable[dict[str, Any]], *, away: NodesAway) -> None:
    """Removes those of the pods that are leaving a node that is away."""
    leaving = [pod for pod in found if pods.is_leaving(pod)]
    nodes = away() if leaving else set()
    for pod in leaving:
        if pod["spec"].get("nodeName") in nodes:
            delete_pod(api, pod, grace_seconds=0)
