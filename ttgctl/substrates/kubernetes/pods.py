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
            return last_words(ended)
    for condition in pod["status"].get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _line(condition)
    return _line(pod["status"]) if pod["status"].get("reason") else ""


def restarts(pod: dict[str, Any]) -> int:
    """How often its containers were started again."""
    return sum(status.get("restartCount", 0) for status in _containers(pod))


def last_end(pod: dict[str, Any]) -> dict[str, Any] | None:
    """How its container ended last, None while it has not."""
    for status in _containers(pod):
        for when in ("state", "lastState"):
            ended: dict[str, Any] | None = (status.get(when) or {}).get("terminated")
            if ended:
                return ended
    return None


def last_words(end: dict[str, Any]) -> str:
    """How a container ended and what it wrote last, in a line."""
    lines = (end.get("message") or "").strip().splitlines()
    how = f"{end.get('reason', 'ended')}, exit code {end.get('exitCode')}"
    return f"{' '.join(lines[-1].split())} ({how})" if lines else how


def exit_codes(pod: dict[str, Any]) -> list[int]:
    """Of its containers that have ended, and of those that ran before these."""
    states = [status.get(when) or {} for status in _containers(pod) for when in ("state", "lastState")]
    return [state["terminated"]["exitCode"] for state in states if state.get("terminated")]


def what_happened(pod: dict[str, Any]) -> str:
    """What keeps the pod from running, or made its container start again; empty when nothing did."""
    now, end = trouble(pod), last_end(pod)
    if now or end is None or not restarts(pod):
        return now
    return f"its container was started again: {last_words(end)}"


def is_hopeless(pod: dict[str, Any]) -> bool:
    return trouble(pod).startswith(HOPELESS)


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return pod["status"].get("containerStatuses") or []


def _line(status: dict[str, Any]) -> str:
    parts = [status.get("reason"), status.get("message")]
    return ": ".join(" ".join(part.split()) for part in parts if part)
