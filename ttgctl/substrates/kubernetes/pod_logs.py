"""What pods wrote, kept in the run's folder before they go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ttgctl.core.ports import SubstrateError
from ttgctl.core.records.run_folder import run_folder
from ttgctl.substrates.kubernetes.api import KubeApi

LINES_MOST: Final = 10_000


def keep_logs(api: KubeApi, run_id: str, found: Iterable[dict[str, Any]]) -> None:
    """Writes the newest lines of each pod's log; a pod whose log can't be had is left out."""
    folder = run_folder(run_id).logs
    for pod in found:
        name = pod["metadata"]["name"]
        # Neither a cluster nor a disk that fails keeps a pod from being stopped.
        with suppress(SubstrateError, OSError):
            text = api.pod_log(name, pod["metadata"]["namespace"], lines=LINES_MOST)
            if text:
                folder.mkdir(parents=True, exist_ok=True)
                _file(folder, name).write_text(text)


def kept_logs(run_id: str) -> dict[str, str]:
    """The kept logs by the pod's name."""
    folder = run_folder(run_id).logs
    return {path.stem: path.read_text(errors="replace") for path in sorted(folder.glob("*.log"))}


def _file(folder: Path, name: str) -> Path:
    # A pod's name has no slash in it; whoever answered may not be an API server.
    return folder / f"{Path(name).name}.log"
