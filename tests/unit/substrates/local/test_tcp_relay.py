"""The relay that stands for a cable which can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from ttgctl.core.ports import SubstrateError
from ttgctl.substrates.local.tcp_relay import TcpRelay, relay_problem

SOON_SECONDS = 5.0
# Long enough for bytes on a loopback that were not held back.
SILENT_SECONDS = 0.3


class Echo:
    """Sends back what it gets; says which connections it saw end."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.ended = threading.Semaphore(0)
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while block := connection.recv(4096):
                connection.sendall(block)
        self.ended.release()

    def close(self) -> None:
        # A close alone would let the accept that waits take one more.
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def relay(echo: Echo) -> Iterator[TcpRelay]:
    with closing(TcpRelay(f"redis://:secret@127.0.0.1:{echo.port}/0")) as opened:
        yield opened


def connect(url: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=SOON_SECONDS)
    connection.settimeout(SOON_SECONDS)
    return connection


def says(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(4096)


def test_the_url_keeps_all_but_host_and_port(relay: TcpRelay, echo: Echo) -> None:
    url = urlsplit(relay.open("worker-1"))
    assert (url.scheme, url.password, url.path, url.hostname) == ("redis", "secret", "/0", "127.0.0.1")
    assert url.port != echo.port


def test_bytes_pass_both_ways_and_ends_are_handed_on(relay: TcpRelay, echo: Echo) -> None:
    with connect(relay.open("worker-1")) as connection:
        assert says(connection, b"hello") == b"hello"
        sent = b"x" * 3_000_000
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        got = 0
        while got < len(sent):
            got += len(connection.recv(1 << 20))
    assert echo.ended.acquire(timeout=SOON_SECONDS)


def test_a_cut_holds_all_back_and_a_restore_brings_it(relay: TcpRelay, echo: Echo) -> None:
    with connect(relay.open("worker-1")) as cut, connect(relay.open("worker-2")) as other:
        assert says(cut, b"1") == b"1"
        assert says(other, b"1") == b"1"
        assert relay.cut("worker-1") == 1
        cut.sendall(b"2")
        cut.settimeout(SILENT_SECONDS)
        with pytest.raises(TimeoutError):
            cut.recv(1)
        assert says(other, b"2") == b"2"
        relay.restore("worker-1")
        cut.settimeout(SOON_SECONDS)
        assert cut.recv(1) == b"2"


def test_not_even_an_end_passes_a_cut(relay: TcpRelay, echo: Echo) -> None:
    with connect(relay.open("worker-1")) as connection:
        assert says(connection, b"1") == b"1"
        relay.cut("worker-1")
        echo.connections[0].shutdown(socket.SHUT_RDWR)
        connection.settimeout(SILENT_SECONDS)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        relay.restore("worker-1")
        connection.settimeout(SOON_SECONDS)
        assert connection.recv(1) == b""


def test_a_broker_that_is_away_ends_the_connection(relay: TcpRelay, echo: Echo) -> None:
    url = relay.open("worker-1")
    echo.close()
    with connect(url) as connection:
        assert connection.recv(1) == b""


def test_only_what_goes_through_it_can_be_cut(relay: TcpRelay) -> None:
    with pytest.raises(SubstrateError, match="worker-9 reaches the broker without the relay"):
        relay.cut("worker-9")
    relay.restore("worker-9")


def test_closing_ends_every_connection(echo: Echo) -> None:
    relay = TcpRelay(f"redis://127.0.0.1:{echo.port}")
    connection = connect(relay.open("worker-1"))
    assert says(connection, b"1") == b"1"
    relay.cut("worker-1")
    relay.close()
    assert echo.ended.acquire(timeout=SOON_SECONDS)
    relay.close()


def test_tls_cannot_be_relayed() -> None:
    assert relay_problem("amqp://localhost") is None
    with pytest.raises(SubstrateError, match="without TLS"):
        TcpRelay("amqps://localhost")
