"""Whether worker pods can start, from what their status says."""

from __future__ import annotations

from typing import Any

import pytest

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.kubernetes import pods, worker_starts
from ttgctl.substrates.kubernetes.worker_starts import WorkerStarts


def pod(state: dict[str, Any], *, last: dict[str, Any] | None = None, restarts: int = 0) -> dict[str, Any]:
    running = "running" in state
    return {
        "metadata": {"name": "w-1", "uid": "1"},
        "spec": {},
        "status": {
            "phase": "Running" if running else "Pending",
            "conditions": [{"type": "Ready", "status": str(running)}],
            "containerStatuses": [{"state": state, "lastState": last or {}, "restartCount": restarts}],
        },
    }


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(worker_starts.time, "monotonic", lambda: now[0])
    return now


def test_a_function_that_can_not_be_loaded_ends_the_run_at_once_with_its_line() -> None:
    message = "Traceback\nttg_worker: f.py: No module named 'numpy'\n"
    waiting = pod(
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, last=ended(2, message), restarts=1
    )
    for each in (pod(ended(2, message)), waiting):
        with pytest.raises(SubstrateError, match=r"w-1 can't start: .*No module named 'numpy'"):
            WorkerStarts().judge([each])


def test_one_that_crashes_again_and_again_ends_the_run_at_the_third_time() -> None:
    starts = WorkerStarts()
    starts.judge([pod({"waiting": {"reason": "CrashLoopBackOff"}}, last=ended(1, "no"), restarts=2)])
    with pytest.raises(SubstrateError, match=r"as soon as they start: no \(Error, exit code 1\)"):
        starts.judge([pod({"waiting": {"reason": "CrashLoopBackOff"}}, last=ended(1, "no"), restarts=3)])


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [("ErrImageNeverPull", 21), ("ImagePullBackOff", 21), ("ErrImagePull", 121), ("Other", 121)],
)
def test_what_no_waiting_mends_ends_the_run(clock: list[float], reason: str, seconds: float) -> None:
    starts = WorkerStarts()
    stuck = pod({"waiting": {"reason": reason, "message": "image x is not there"}})
    starts.judge([stuck])
    clock[0] += seconds - 2
    starts.judge([stuck])
    clock[0] += 3
    with pytest.raises(SubstrateError, match=f"{reason}: image x is not there"):
        starts.judge([stuck])


def test_beside_one_that_runs_the_others_are_waited_for(clock: list[float]) -> None:
    starts = WorkerStarts()
    stuck, runs = pod({"waiting": {"reason": "ImagePullBackOff"}}), pod({"running": {}})
    starts.judge([stuck])
    clock[0] += 60
    starts.judge([stuck, runs])
    clock[0] += 60
    starts.judge([stuck, runs])


def test_pods_that_are_being_created_are_in_no_trouble(clock: list[float]) -> None:
    starts = WorkerStarts()
    for _ in range(5):
        starts.judge([pod({"waiting": {"reason": "ContainerCreating"}})])
        clock[0] += 100


def test_why_a_container_was_started_again_is_told() -> None:
    again = pod({"running": {}}, last=ended(137, reason="OOMKilled"), restarts=1)
    assert pods.what_happened(again) == "its container was started again: OOMKilled, exit code 137"
    assert pods.what_happened(pod({"running": {}})) == ""
