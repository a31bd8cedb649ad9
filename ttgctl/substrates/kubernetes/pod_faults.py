"""Faults on a pod of a run: signals to its processes from within, and its removal without grace."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final, Literal

from ttgctl.core.ports import Evidence, SubstrateError
from ttgctl.substrates.kubernetes import pods
from ttgctl.substrates.kubernetes.api import ApiAway, CommandFailed, KubeApi
from ttgctl.substrates.polling import until

Signal = Literal["KILL", "STOP", "CONT"]

# Says "stopped" once one of the processes is, "refused" if there was none to signal. A process stops
# as soon as it next runs, so this is looked at for a second.
_STOP: Final = """\
kill -STOP -1 || { echo refused; exit; }
for try in 1 2 3 4 5 6 7 8 9 10; do
  for each in /proc/[0-9]*/status; do
    while read -r key value rest; do
      [ "$key$value" = State:T ] && echo stopped && exit
    done < "$each"
  done
  sleep 0.1
done 2>/dev/null
"""


# Whoever kills the container's first process may be ended with the container before it can tell.
_KILLED_EXIT_CODE: Final = 137
_DEATH_SECONDS: Final = 3.0


def signal_pod(api: KubeApi, pod: dict[str, Any], signal: Signal) -> None:
    """Signals every process of the pod's user.

    The pods share their process namespace, so that no process of theirs is process 1, which the
    kernel would shield. The command that does it runs as the same user, and spares itself.
    """
    _run(api, pod, f"kill -{signal} -1")


def stop_pod(api: KubeApi, pod: dict[str, Any]) -> Evidence:
    """SIGSTOP to its processes; its effect is that one was seen to stand still."""
    try:
        said = _run(api, pod, _STOP).split()
    except SubstrateError:
        # The answer may have got lost and not the signal: nobody would ever undo it.
        with suppress(SubstrateError):
            signal_pod(api, pod, "CONT")
        raise
    if "refused" in said:
        raise SubstrateError(f"pod {pod['metadata']['name']} has no process that could be stopped")
    return evidence(pod, method="SIGSTOP", effect="stopped" if "stopped" in said else None)


def kill_pod(api: KubeApi, pod: dict[str, Any]) -> Evidence:
    """SIGKILL to its processes, then the pod deleted without grace, so that it is replaced at once."""
    meta = pod["metadata"]
    method = "SIGKILL, then the pod deleted without grace"
    killed = True
    try:
        # Deletion alone, even without grace, begins with a SIGTERM and two seconds, in which a
        # worker would hand its chunks back.
        signal_pod(api, pod, "KILL")
    except SubstrateError as error:
        unheard = isinstance(error, ApiAway) or (
            isinstance(error, CommandFailed) and error.exit_code == _KILLED_EXIT_CODE
        )
        killed = unheard and until(lambda: _was_killed(api, meta), seconds=_DEATH_SECONDS)
        if not killed:
            method = f"the pod deleted without grace, which begins with SIGTERM ({error})"
    at = time.time()
    try:
        delete_pod(api, pod, grace_seconds=0)
    except SubstrateError as error:
        # What was killed was hit, whoever replaces it; another victim would be one too many.
        if not killed:
            raise
        return evidence(pod, method=f"SIGKILL; the pod could not be deleted ({error})", at=at)
    return evidence(pod, method=method, at=at, effect="process gone" if _is_gone(api, meta) else None)


def _was_killed(api: KubeApi, meta: dict[str, Any]) -> bool:
    """Whether the pod's container is seen to have died by SIGKILL, or the pod is gone."""
    try:
        now = api.get("Pod", meta["name"], meta["namespace"])
    except SubstrateError:
        return False
    if now is None or now["metadata"]["uid"] != meta["uid"]:
        return True
    return _KILLED_EXIT_CODE in pods.exit_codes(now)


def _is_gone(api: KubeApi, meta: dict[str, Any]) -> bool:
    try:
        now = api.get("Pod", meta["name"], meta["namespace"])
    # The kill is done; the run may show yet what came of it.
    except SubstrateError:
        return False
    return now is None or now["metadata"]["uid"] != meta["uid"]


def delete_pod(api: KubeApi, pod: dict[str, Any], *, grace_seconds: int) -> None:
    meta = pod["metadata"]
    api.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace_seconds=grace_seconds)


def evidence(
    pod: dict[str, Any],
    *,
    method: str,
    at: float | None = None,
    effect: str | None = None,
    without_effect: str | None = None,
) -> Evidence:
    """What was done to this pod, by default just now."""
    return Evidence(
        victim=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        at=time.time() if at is None else at,
        method=method,
        node=pod["spec"].get("nodeName"),
        effect=effect,
        without_effect=without_effect,
    )


def _run(api: KubeApi, pod: dict[str, Any], script: str) -> str:
    return api.exec(pod["metadata"]["name"], pod["metadata"]["namespace"], ["sh", "-c", script])
