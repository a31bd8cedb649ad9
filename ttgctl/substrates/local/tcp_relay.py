"""A TCP relay between local workers and their broker, which can fall silent like a cut cable.

Cutting the connections of one process at the firewall needs root; this does not. While a way is
cut, its connections stay open and nothing passes, not even that the other side closed.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final
from urllib.parse import urlsplit

from ttgctl.core.ports import SubstrateError

_DEFAULT_PORTS: Final = {"amqp": 5672, "redis": 6379}
_BLOCK: Final = 1 << 16
_START_SECONDS: Final = 5.0


class TcpRelay:
    """One way for each name, each with a port of its own on 127.0.0.1. Runs in its own thread.

    ``url`` is the broker's. Raises :class:`SubstrateError` for one that can't be relayed.
    """

    def __init__(self, url: str) -> None:
        problem = relay_problem(url)
        if problem is not None:
            raise SubstrateError(problem)
        self._url = urlsplit(url)
        self._ways: dict[str, _Way] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()

    def open(self, name: str) -> str:
        """The broker's URL by way of the relay."""
        url = self._url
        way = _Way(url.hostname or "localhost", url.port or _DEFAULT_PORTS[url.scheme])
        port = asyncio.run_coroutine_threadsafe(way.listen(), self._loop).result(_START_SECONDS)
        self._ways[name] = way
        login = url.netloc.rpartition("@")[0]
        return url._replace(netloc=f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}").geturl()

    def cut(self, name: str) -> int:
        """From now on nothing passes; the number of connections that this hit."""
        way = self._ways.get(name)
        if way is None:
            raise SubstrateError(f"{name} reaches the broker without the relay that could cut it off")
        self._loop.call_soon_threadsafe(way.passing.clear)
        return way.connections

    def restore(self, name: str) -> int:
        """All passes again, what waited meanwhile first; the number of connections that waited."""
        way = self._ways.get(name)
        if way is None or way.passing.is_set():
            return 0
        waited = way.connections
        self._loop.call_soon_threadsafe(way.passing.set)
        return waited

    def close(self) -> None:
        """Closes every connection."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(_START_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        for way in self._ways.values():
            way.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def relay_problem(url: str) -> str | None:
    """Why a broker's URL can't go through a relay, None if it can."""
    if urlsplit(url).scheme not in _DEFAULT_PORTS:
        return "a worker can be cut off only from a broker at amqp:// or redis://, without TLS"
    return None


class _Way:
    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self.passing = asyncio.Event()
        self.passing.set()
        self.connections = 0

    async def listen(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.passing.wait()
            there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
            try:
                pipes = (self._pipe(reader, there_writer), self._pipe(there_reader, writer))
                await asyncio.gather(*pipes)
            finally:
                there_writer.close()
        # The broker is away or a side broke off: the other one learns it by the close.
        except OSError:
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while block := await source.read(_BLOCK):
            await self.passing.wait()
            target.write(block)
            await target.drain()
        await self.passing.wait()
        target.close()
