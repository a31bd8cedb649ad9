"""What a connection writes to its socket, and when; the contract suite has it work with a broker."""

from __future__ import annotations

import pika
import pytest
from pika.adapters.select_connection import IOLoop
from pika.frame import Heartbeat

from ttg_worker.brokers.rabbitmq.link import GatheringConnection


class Transport:
    def __init__(self):
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)


@pytest.fixture
def connection():
    loop = IOLoop()
    connection = GatheringConnection(
        pika.ConnectionParameters(),
        on_open_error_callback=lambda connection, error: None,
        custom_ioloop=loop,
        internal_connection_workflow=False,
    )
    yield connection
    loop.close()


def turn(connection) -> None:
    connection.ioloop.add_callback_threadsafe(connection.ioloop.stop)
    connection.ioloop.start()


def test_frames_of_one_turn_go_out_together_and_in_order(connection):
    transport = Transport()
    connection._proto_connection_made(transport)
    heartbeat = Heartbeat().marshal()
    connection._output_marshaled_frames([heartbeat, b"second", b"third"])
    assert transport.written == []
    turn(connection)
    assert transport.written == [b"AMQP\x00\x00\x09\x01" + heartbeat + b"secondthird"]
    connection._output_marshaled_frames([b"later"])
    turn(connection)
    assert transport.written[1:] == [b"later"]


def test_what_a_lost_connection_gathered_is_forgotten(connection):
    transport = Transport()
    connection._proto_connection_made(transport)
    turn(connection)
    connection._output_marshaled_frames([b"too late"])
    connection._proto_connection_lost(ConnectionResetError())
    turn(connection)
    assert len(transport.written) == 1
