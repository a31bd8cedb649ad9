"""The broker process of a local run: what both kinds of server have in common."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

PORTS: Final = (20_000, 32_000)


@dataclass(frozen=True)
class ServerAddress:
    """``url`` holds the password. ``management_url`` has none and is None where there is no UI."""

    url: str
    management_url: str | None = None


class LocalServer(Protocol):
    """A broker on 127.0.0.1 whose storage, ports and credentials live in one folder.

    Made with ``(run_folder: Path)``; keeps all it writes below ``run_folder/local/broker``
    (mode 0700), its process is spawned with the name ``broker``.
    """

    @staticmethod
    def problem() -> str | None:
        """Why this kind of server can't run on this machine and what to do; None if it can."""

    def start(self) -> ServerAddress:
        """Starts it, or finds it running, and returns once it takes connections.

        After a stop or a kill it comes back with the same storage, ports and credentials.
        Raises :class:`~ttgctl.core.ports.SubstrateError` with the end of its log when it does not.
        """

    def stop(self) -> None:
        """Ends it and everything it started, in good order; the storage stays."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different.

    Below the range that the system takes for outgoing connections: one of those could get the
    port between this answer and the server's start.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


def broker_folder(run_folder: Path) -> Path:
    """Where a local run's server keeps everything; made when it is not there."""
    folder = run_folder / "local" / "broker"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
