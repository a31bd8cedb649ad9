"""The way between a pod's files and the host's, as the process that a pod runs: pieces to and fro."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ttg_worker import wire
from ttg_worker.brokers.static.files import StaticFiles
from ttg_worker.brokers.static.pipe import BLOCK, Piece, read_piece
from ttg_worker.wire import Heartbeat


class Pipe:
    """The process; what it says is read as it comes."""

    def __init__(self, folder: Path, *, results: int = 0, dead_letters: int = 0) -> None:
        argv = [
            sys.executable,
            "-m",
            "ttg_worker.brokers.static.pipe",
            str(folder),
            str(results),
            str(dead_letters),
        ]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def say(self, data: bytes) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def hear(self) -> Piece:
        return read_piece(self.process.stdout.readline())

    def end(self) -> int:
        """By the end of its stdin, as when the connection breaks."""
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()


@pytest.fixture
def open_pipe(tmp_path):
    opened = []

    def open_it(**places) -> Pipe:
        opened.append(Pipe(tmp_path / "shares", **places))
        return opened[-1]

    yield open_it
    for pipe in opened:
        pipe.process.kill()
        pipe.process.wait()


@pytest.fixture
def files(tmp_path) -> StaticFiles:
    return StaticFiles(tmp_path / "shares")


def plan(position: int, lines: bytes) -> bytes:
    return Piece("plan", position, lines).to_line()


def test_a_plan_arrives_and_the_next_connection_goes_on_behind_it(open_pipe, files, until):
    pipe = open_pipe()
    assert pipe.hear() == Piece("plan", 0, b"")
    assert files.exist
    pipe.say(plan(0, b"one\n"))
    pipe.say(plan(4, "naïve 😀\n".encode()))
    until(lambda: files.plan.count() == 2)
    assert pipe.end() == 0
    again = open_pipe()
    assert again.hear() == Piece("plan", files.plan.end(), b"")


def test_the_same_lines_from_two_connections_are_there_once(open_pipe, files, until):
    stale, fresh = open_pipe(), open_pipe()
    for pipe in (stale, fresh):
        assert pipe.hear().position == 0
    fresh.say(plan(0, b"one\n") + plan(4, b"two\n"))
    until(lambda: files.plan.count() == 2)
    stale.say(plan(0, b"one\n"))
    assert stale.end() == 0
    assert [line for _, line in files.plan.read(0)] == [b"one", b"two"]


def test_half_a_line_of_a_broken_connection_is_nothing(open_pipe, files, until):
    pipe = open_pipe()
    pipe.hear()
    pipe.say(plan(0, b"one\n") + plan(4, b"two\n")[:-9])
    assert pipe.end() == 0
    assert [line for _, line in files.plan.read(0)] == [b"one"]


def test_gives_what_the_worker_writes_in_order_and_from_any_place_on(open_pipe, files):
    files.make()
    long = b"x" * (BLOCK + 10)
    files.results.append([b"r1", long])
    pipe = open_pipe()
    assert pipe.hear().file == "plan"
    assert pipe.hear() == Piece("results", 0, b"r1\n")
    assert pipe.hear() == Piece("results", 3, long + b"\n")
    files.dead_letters.append([b"d1"])
    assert pipe.hear() == Piece("dead_letters", 0, b"d1\n")
    pipe.end()
    pipe = open_pipe(results=3, dead_letters=3)
    assert pipe.hear().file == "plan"
    assert pipe.hear() == Piece("results", 3, long + b"\n")


def test_gives_each_new_beat_and_none_twice(open_pipe, files):
    files.make()
    pipe = open_pipe()
    assert pipe.hear().file == "plan"
    heartbeats = [Heartbeat("r", "pod-1", "busy", n, (n,), n, 0, 0.0, float(n)) for n in (1, 2)]
    for heartbeat in heartbeats:
        files.write_heartbeat(heartbeat)
        assert wire.decode_heartbeat(pipe.hear().lines) == heartbeat
    files.results.append([b"r1"])
    assert pipe.hear().file == "results"


def test_a_result_is_given_before_the_beat_that_knows_of_it(open_pipe, files):
    files.make()
    files.results.append([b"r1"])
    files.write_heartbeat(Heartbeat("r", "pod-1", "idle", None, (), 1, 0, 0.0, 1.0))
    pipe = open_pipe()
    assert [pipe.hear().file for _ in range(3)] == ["plan", "results", "heartbeat"]


def test_what_is_no_piece_ends_it_with_a_word(open_pipe):
    pipe = open_pipe()
    pipe.hear()
    pipe.say(b"hello\n")
    assert pipe.process.wait() is not None
    with pytest.raises(msgspec.DecodeError):
        read_piece("hello")
