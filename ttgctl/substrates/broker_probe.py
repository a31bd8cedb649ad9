"""Whether a broker answers at an address: the first words of its protocol, and nothing more."""

from __future__ import annotations

import socket
from typing import Final

_GREETINGS: Final = {"rabbitmq": b"AMQP\x00\x00\x09\x01", "redis": b"PING\r\n"}
# AMQP 0-9-1: a method frame on channel 0 whose method is Connection.Start (class 10, method 10).
_FRAME_START: Final = b"\x01\x00\x00"
_CONNECTION_START: Final = b"\x00\x0a\x00\x0a"


def answers(host: str, port: int, backend: str, *, timeout_seconds: float = 2.0) -> bool:
    """True once a broker of this backend speaks there; a listening port alone is not enough."""
    try:
        with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            connection.sendall(_GREETINGS[backend])
            reply = connection.recv(512)
    except OSError:
        return False
    if backend == "redis":
        # Without the password even PING is refused, by a server that is up.
        return reply.startswith((b"+PONG", b"-NOAUTH"))
    return reply.startswith(_FRAME_START) and reply[7:11] == _CONNECTION_START
