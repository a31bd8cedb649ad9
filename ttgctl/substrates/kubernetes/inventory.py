"""What ttgctl made in a namespace, in the order in which it can be deleted; and what others put there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ttgctl.core.ports import OwnedResource
from ttgctl.substrates.kubernetes import labels
from ttgctl.substrates.kubernetes.api import ApiRefused, KubeApi

# Controllers before the pods that they would replace, pods before the storage that they hold.
KINDS: Final = (
    "Deployment",
    "StatefulSet",
    "Job",
    "Pod",
    "Service",
    "NetworkPolicy",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
)
PARALLEL: Final = 16
_DISCOVERY: Final = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    for version in ("v2", "v2beta1")
)
_METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
# In every namespace, made by Kubernetes itself; or a record of something, not a thing.
_OF_EVERY_NAMESPACE: Final = {
    ("configmaps", "kube-root-ca.crt"),
    ("serviceaccounts", "default"),
}
_RECORDS: Final = {"events", "leases", "endpoints", "endpointslices"}


def inventory(api: KubeApi, *, namespace: str, run_id: str | None = None) -> list[OwnedResource]:
    """Everything with the project's label, of one run or of all; foreign where another manages it.

    The namespace comes last, when it is about all runs and ttgctl made it; it is foreign as
    soon as anything of somebody else's is in it.
    """
    selector = labels.selector(run_id=run_id)
    with ThreadPoolExecutor(PARALLEL) as pool:
        lists = pool.map(lambda kind: api.list(kind, namespace, selector=selector), KINDS)
        about_namespace = pool.submit(_made_namespace, api, namespace) if run_id is None else None
        found = [labels.as_resource(item) for items in lists for item in items]
        made = about_namespace.result() if about_namespace else None
    if made is not None:
        found.append(labels.as_resource(made, foreign=bool(strangers(api, namespace=namespace))))
    return found


def strangers(api: KubeApi, *, namespace: str) -> list[str]:
    """``kind/name`` of what is in the namespace and neither ours nor Kubernetes's own.

    Looks at every kind the API serves, custom ones too. What can't be looked at is named as
    well: where one can't look, something may be.
    """
    found: list[str] = []
    listed = _namespaced_lists(api)
    if not listed:
        return ["(this API server does not say which kinds it serves)"]
    with ThreadPoolExecutor(PARALLEL) as pool:
        for names in pool.map(lambda where: _strangers_of(api, where, namespace), listed):
            found += names
    return sorted(found)


def _made_namespace(api: KubeApi, namespace: str) -> dict[str, Any] | None:
    try:
        item = api.get("Namespace", namespace)
    except ApiRefused as error:
        # Who may not look at namespaces did not make this one.
        if error.status == 403:
            return None
        raise
    if item is None or not labels.is_ours(item):
        return None
    marks = item["metadata"].get("annotations") or {}
    return {"kind": "Namespace", **item} if marks.get(labels.CREATED_BY) == labels.MANAGER else None


def _namespaced_lists(api: KubeApi) -> list[tuple[str, str]]:
    """``(path of the API, plural)`` of every kind that lives in namespaces and can be listed."""
    found: dict[tuple[str, str], str] = {}
    for root in ("/api", "/apis"):
        answer = api.request("get", root, accept=f"{_DISCOVERY},application/json")
        for group in answer.get("items") or []:
            name = group["metadata"].get("name", "")
            for version in group.get("versions") or []:
                base = f"{root}/{name}/{version['version']}" if name else f"{root}/{version['version']}"
                for resource in version.get("resources") or []:
                    if resource.get("scope") == "Namespaced" and "list" in resource.get("verbs", ()):
                        # Versions come in order of preference, and all show the same objects.
                        found.setdefault((name, resource["resource"]), base)
    return [(base, plural) for (_, plural), base in found.items() if plural not in _RECORDS]


def _strangers_of(api: KubeApi, where: tuple[str, str], namespace: str) -> list[str]:
    base, plural = where
    try:
        answer = api.request("get", f"{base}/namespaces/{namespace}/{plural}", accept=_METADATA)
    except ApiRefused as error:
        return [] if error.status in (404, 405) else [f"{plural}/?"]
    found = []
    for item in answer.get("items") or []:
        name = item["metadata"]["name"]
        owners = item["metadata"].get("ownerReferences") or ()
        # What a controller made goes with it, and the controller is looked at itself.
        controlled = any(owner.get("controller") for owner in owners)
        if not labels.is_ours(item) and not controlled and (plural, name) not in _OF_EVERY_NAMESPACE:
            found.append(f"{plural}/{name}")
    return found
