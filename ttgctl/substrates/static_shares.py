"""Fixed shares: files in the run's folder on this machine in place of a broker, wherever the workers are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ttg_worker.brokers.static.broker import static_url
from ttgctl.substrates.broker_server import ServerAddress, broker_folder

NO_BROKER: Final = "fixed shares have no broker"


class StaticShares:
    """See :class:`ttgctl.substrates.broker_server.LocalServer`; there is nothing that could run."""

    def __init__(self, run_folder: Path, workers: int) -> None:
        self._run_folder = run_folder
        self._workers = workers

    @staticmethod
    def problem() -> str | None:
        return None

    def start(self) -> ServerAddress:
        return ServerAddress(url=static_url(broker_folder(self._run_folder), workers=self._workers))

    def stop(self) -> None: ...
