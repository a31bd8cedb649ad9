"""Fixed shares on this machine: files in the run's folder in place of a broker's process."""

from __future__ import annotations

from pathlib import Path

from ttg_worker.brokers.static import static_url
from ttgctl.substrates.local_server import ServerAddress, broker_folder


class StaticShares:
    """See :class:`ttgctl.substrates.local_server.LocalServer`; there is nothing that could run."""

    def __init__(self, run_folder: Path, workers: int) -> None:
        self._run_folder = run_folder
        self._workers = workers

    @staticmethod
    def problem() -> str | None:
        return None

    def start(self) -> ServerAddress:
        return ServerAddress(url=static_url(broker_folder(self._run_folder), workers=self._workers))

    def stop(self) -> None: ...
