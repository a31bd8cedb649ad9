"""What a pod's status says: whether it runs, is ready, or what is in its way."""

from __future__ import annotations

from typing import Any, Final

# States that no waiting mends.
HOPELESS: Final = (
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
)


def is_leaving(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_pending(pod: dict[str, Any]) -> bool:
    """Whether it may run yet: placed or not, pulling its image or not."""
    return not is_leaving(pod) and pod["status"].get("phase") == "Pending"


def has_ended(pod: dict[str, Any]) -> bool:
    """Whether nothing of it runs any more, although it is there."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_running(pod: dict[str, Any]) -> bool:
    """Whether its container runs and nobody has asked for its end."""
    return not is_leaving(pod) and any("running" in status["state"] for status in _containers(pod))


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return not is_leaving(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def trouble(pod: dict[str, Any]) -> str:
    """What keeps the pod from running, ``reason: message``; empty when nothing does."""
    for status in _containers(pod):
        waiting = status["state"].get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return _line(waiting)
        ended = status["state"].get("terminated")
        if ended:
            return f"{ended.get('reason', 'ended')}, exit code {ended.get('exitCode')}"
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _line(condition)
    return _line(pod["status"]) if pod["status"].get("reason") else ""


def is_hopeless(pod: dict[str, Any]) -> bool:
    return trouble(pod).startswith(HOPELESS)


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return pod["status"].get("containerStatuses") or []


def _line(status: dict[str, Any]) -> str:
    parts = [status.get("reason"), status.get("message")]
    return ": ".join(" ".join(part.split()) for part in parts if part)
