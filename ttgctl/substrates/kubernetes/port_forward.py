"""A way from 127.0.0.1 to a pod that survives the pod: each connection goes to the pod of the moment."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from ttgctl.core.ports import SubstrateError

BLOCK: Final = 1 << 18


class PortForward:
    """Listens on a free port of 127.0.0.1 from its making until it is closed."""

    def __init__(self, connect: Callable[[], Any], *, name: str) -> None:
        """``connect`` gives a socket to whatever is to be reached at that moment.

        It may raise :class:`SubstrateError`; the caller's connection then ends at once.
        """
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name=f"port-forward-{name}", daemon=True).start()

    def close(self) -> None:
        # Without it a thread that waits in accept keeps the port open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(local,), daemon=True).start()

    def _serve(self, local: socket.socket) -> None:
        with local:
            try:
                with closing(self._connect()) as remote:
                    _pump(local, remote)
            except (SubstrateError, OSError):
                # The pod or the API server went away: the caller's connection ends and it makes
                # a new one, which is all that a broken connection can tell it.
                return


def _pump(local: socket.socket, remote: Any) -> None:
    """Copies both ways until either side ends."""
    while True:
        ready, _, _ = select.select([local, remote], [], [])
        for source, target in ((local, remote), (remote, local)):
            if source in ready:
                block = source.recv(BLOCK)
                if not block:
                    return
                target.sendall(block)
