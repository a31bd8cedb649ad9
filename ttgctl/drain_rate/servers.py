"""Brokers that are started for a measurement and gone after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ttgctl.substrates.local.substrate import server_for


def missing(backend: str) -> str | None:
    """Why no server of this backend can be started here and what to do; None if one can."""
    return server_for(backend, Path()).problem()


@contextmanager
def running_servers(backends: Iterable[str], folder: Path) -> Iterator[dict[str, str]]:
    """URLs by backend of fresh servers on 127.0.0.1 that keep their data in ``folder``."""
    with ExitStack() as stack:
        urls = {}
        for backend in backends:
            server = server_for(backend, folder / backend)
            stack.callback(server.stop)
            urls[backend] = server.start().url
        yield urls
