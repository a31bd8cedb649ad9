"""What runs keep for their brokers on this machine: the folder ``local/`` of each, until its cleanup."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ttgctl.core.ports import OwnedResource
from ttgctl.core.records.run_folder import readable_runs
from ttgctl.domain.run import RunSpec


def stored(run_id: str | None, *, belongs: Callable[[RunSpec], bool]) -> list[OwnedResource]:
    """The folders of one run or of all, of those to whose substrate they belong."""
    found = []
    # Whoever asks for all runs has told of the damaged ones.
    for folder, spec in readable_runs(said=lambda line: None):
        if run_id in (None, folder.run_id) and folder.local.is_dir() and belongs(spec):
            found.append(
                OwnedResource(
                    kind="folder",
                    name=str(folder.local),
                    uid=_uid(folder.local),
                    run_id=folder.run_id,
                    created_at=folder.local.stat().st_ctime,
                )
            )
    return found


def delete_stored(resource: OwnedResource) -> bool:
    """False when it is gone, or another has taken its place."""
    path = Path(resource.name)
    try:
        if _uid(path) != resource.uid:
            return False
    except FileNotFoundError:
        return False
    shutil.rmtree(path)
    return True


def _uid(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"
