"""What a run stands on in its cluster, as files for a bug report, without secrets."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ttgctl.core.ports import SubstrateError
from ttgctl.domain.run import RunSpec
from ttgctl.substrates.kubernetes import labels, manifests, pods
from ttgctl.substrates.kubernetes.api import KubeApi
from ttgctl.substrates.kubernetes.inventory import KINDS

LEFT_OUT: Final = "(left out)"


def run_diagnostics(api: KubeApi, spec: RunSpec, *, namespace: str) -> dict[str, str]:
    """``objects.yaml`` as they are now, ``kubernetes-events.txt``, and what the broker says of itself."""
    selector = labels.selector(run_id=spec.run_id)
    with ThreadPoolExecutor(len(KINDS)) as pool:
        lists = pool.map(lambda kind: api.list(kind, namespace, selector=selector), KINDS)
        objects = [item for items in lists for item in items]
    found = {
        "objects.yaml": manifests.as_yaml([without_secrets(item) for item in objects]),
        "kubernetes-events.txt": _events(api, spec, namespace),
    }
    if any(labels.is_ours(item) and _is_ready_broker(item) for item in objects):
        found |= _broker(api, spec, namespace)
    return found


def without_secrets(item: dict[str, Any]) -> dict[str, Any]:
    """The object with a Secret's values, and what says who wrote which field, taken out."""
    meta = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    clean = {**item, "metadata": meta}
    if item["kind"] == "Secret":
        clean["data"] = dict.fromkeys(item.get("data") or {}, LEFT_OUT)
    return clean


def without_passwords(text: str) -> str:
    """RabbitMQ's definitions with its users' password hashes taken out."""
    read = json.loads(text)
    for user in read.get("users", ()):
        user["password_hash"] = LEFT_OUT
    return json.dumps(read, indent=2) + "\n"


def _is_ready_broker(item: dict[str, Any]) -> bool:
    is_broker = item["metadata"]["labels"].get(labels.COMPONENT_LABEL) == "broker"
    return item["kind"] == "Pod" and is_broker and pods.is_ready(item)


def _events(api: KubeApi, spec: RunSpec, namespace: str) -> str:
    ours = (manifests.broker_name(spec.run_id), manifests.workers_name(spec.run_id))
    lines = []
    for event in api.list("Event", namespace):
        about = event["involvedObject"]
        # A claim's name begins with its volume's.
        if about.get("name", "").removeprefix("data-").startswith(ours):
            at = (
                event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
            )
            what = f"{about['kind']} {about['name']}: {event.get('reason')}: {event.get('message')}"
            lines.append(f"{at} {event.get('count') or 1}x {what}\n")
    return "".join(sorted(lines))


def _broker(api: KubeApi, spec: RunSpec, namespace: str) -> dict[str, str]:
    pod = f"{manifests.broker_name(spec.run_id)}-0"
    if spec.backend == "redis":
        return {"redis-info.txt": api.exec(pod, namespace, ["redis-cli", "INFO"])}
    said = api.exec(pod, namespace, ["rabbitmqctl", "--quiet", "export_definitions", "-"])
    try:
        # Warnings may come before it.
        return {"rabbitmq-definitions.json": without_passwords(said[said.index("{") :])}
    except ValueError as error:
        raise SubstrateError(f"RabbitMQ gave no definitions: {said.strip()[:200]}") from error
