"""The labels by which objects on a cluster are known, and what they say about who owns them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from ttgctl.core.ports import OwnedResource

MANAGER: Final = "ttgctl"
PROJECT: Final = "distributed-compute"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
PROJECT_LABEL: Final = "ttg.io/project"
RUN_LABEL: Final = "ttg.io/run-id"
COMPONENT_LABEL: Final = "ttg.io/component"
WORKER_LABEL: Final = "ttg.io/worker-id"
# A pod that is cut off from all others carries it, and so does the policy that does this.
CUT_LABEL: Final = "ttg.io/cut-off"
# The namespace carries it when ttgctl made it; one that was there before never does.
CREATED_BY: Final = "ttg.io/created-by"

PROJECT_SELECTOR: Final = f"{PROJECT_LABEL}={PROJECT}"


def labels(
    *, name: str, component: str, backend: str | None = None, run_id: str | None = None
) -> dict[str, str]:
    """The labels of one object; ``name`` is the program, ``component`` its part in the run."""
    found = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "ttg",
        MANAGED_BY: MANAGER,
        PROJECT_LABEL: PROJECT,
        COMPONENT_LABEL: component,
    }
    if backend is not None:
        found["ttg.io/queue-backend"] = backend
    if run_id is not None:
        found[RUN_LABEL] = run_id
    return found


def selector(*, run_id: str | None = None, component: str | None = None) -> str:
    """The label selector of a run's objects, or of one component of it."""
    parts = [PROJECT_SELECTOR]
    if run_id is not None:
        parts.append(f"{RUN_LABEL}={run_id}")
    if component is not None:
        parts.append(f"{COMPONENT_LABEL}={component}")
    return ",".join(parts)


def selector_of(found: dict[str, str]) -> dict[str, str]:
    """Those of an object's labels by which it is selected: they never change."""
    return {name: found[name] for name in (PROJECT_LABEL, RUN_LABEL, COMPONENT_LABEL)}


def is_ours(item: dict[str, Any]) -> bool:
    """Whether ttgctl made it: the project's label and ttgctl as the manager."""
    found = item["metadata"].get("labels") or {}
    return found.get(MANAGED_BY) == MANAGER and found.get(PROJECT_LABEL) == PROJECT


def as_resource(item: dict[str, Any], *, foreign: bool | None = None) -> OwnedResource:
    """An object as the cleanup lists it; foreign unless it is ours, or as told."""
    meta = item["metadata"]
    return OwnedResource(
        kind=item["kind"],
        name=meta["name"],
        uid=meta["uid"],
        run_id=(meta.get("labels") or {}).get(RUN_LABEL),
        created_at=datetime.fromisoformat(meta["creationTimestamp"]).timestamp(),
        namespace=meta.get("namespace"),
        foreign=not is_ours(item) if foreign is None else foreign,
    )
