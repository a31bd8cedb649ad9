"""Faults on a pod of a run: signals to its processes from within, and its removal without grace."""

from __future__ import annotations

import time
from typing import Any, Literal

from ttgctl.core.ports import KillEvidence
from ttgctl.substrates.kube_api import ApiRefused, KubeApi

Signal = Literal["KILL", "STOP", "CONT"]


def signal_pod(api: KubeApi, pod: dict[str, Any], signal: Signal) -> None:
    """Signals every process of the pod's user.

    The pods share their process namespace, so that no process of theirs is process 1, which the
    kernel would shield. The command that does it runs as the same user, and spares itself.
    """
    meta = pod["metadata"]
    api.exec(meta["name"], meta["namespace"], ["sh", "-c", f"kill -{signal} -1"])


def kill_pod(api: KubeApi, pod: dict[str, Any]) -> KillEvidence:
    """SIGKILL to its processes, then the pod deleted without grace, so that it is replaced at once."""
    method = "SIGKILL, then the pod deleted without grace"
    try:
        # Deletion alone, even without grace, begins with a SIGTERM and two seconds, in which a
        # worker would hand its chunks back.
        signal_pod(api, pod, "KILL")
    except ApiRefused as error:
        method = f"the pod deleted without grace, which begins with SIGTERM ({error})"
    at = time.time()
    delete_pod(api, pod, grace_seconds=0)
    return evidence(pod, method=method, at=at)


def delete_pod(api: KubeApi, pod: dict[str, Any], *, grace_seconds: int) -> None:
    meta = pod["metadata"]
    api.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace_seconds=grace_seconds)


def evidence(
    pod: dict[str, Any], *, method: str, at: float | None = None, effect: str | None = None
) -> KillEvidence:
    """What was done to this pod, by default just now."""
    return KillEvidence(
        victim=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        at=time.time() if at is None else at,
        method=method,
        node=pod["spec"].get("nodeName"),
        effect=effect,
    )
