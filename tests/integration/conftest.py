"""What several integration tests look at."""

from __future__ import annotations

import psutil
import pytest

from ttgctl.substrates.local.processes import RUN_MARK


@pytest.fixture
def leftovers(tmp_path, monkeypatch):
    """What a benchmark of this test has on the machine right now: its files and processes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))

    def here() -> list[str]:
        found = [entry.name for entry in folder.iterdir()]
        for process in psutil.process_iter():
            try:
                if process.environ().get(RUN_MARK, "").startswith(str(folder)):
                    found.append(process.name())
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found

    return here
