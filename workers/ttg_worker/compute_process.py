"""The worker's end of its compute process: starts it, feeds it, listens to it, ends it."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ttg_worker import process_tree
from ttg_worker.compute import main as compute_main
from ttg_worker.compute.ring import RingReader, make_memory
from ttg_worker.errors import WorkloadError

# Of what it wrote to stderr last, for the error of a parameter that ended it.
STDERR_BYTES: Final = 16 * 1024
FRAME_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 16

# ``[serial, start, size, offsets or None, parameters or None]``, see :mod:`ttg_worker.compute.main`.
Assignment = tuple[int, int, int, Sequence[int] | None, msgspec.Raw | None]


@dataclass(frozen=True)
class Task:
    """What a compute process is for: a function, or the synthetic one's time and seed."""

    workload: str
    chunk_function: bool = False
    work_seconds: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Death:
    """How a compute process ended. ``kind`` is the signal's name or ``exit code N``; ``text`` has the last
    lines of stderr, and says it once more."""

    kind: str
    text: str


class ComputeProcess:
    """One compute process, from its start to its end.

    Nothing here waits but :meth:`wait`: frames that the process does not take yet are kept. What it writes
    to stderr goes on to this process's own.
    """

    def __init__(self, task: Task, *, python: str, environment: Mapping[str, str]) -> None:
        ring_fd = make_memory()
        self._socket, theirs = socket.socketpair()
        self._stderr, stderr = os.pipe()
        self._stderr_tail = b""
        # What it leaves behind is known by it, whatever it became.
        self._mark = f"TTG_COMPUTE_PROCESS={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._outgoing = bytearray()
        try:
            self._process = subprocess.Popen(
                [python, str(Path(compute_main.__file__)), str(ring_fd), str(theirs.fileno())],
                pass_fds=(ring_fd, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                env={**environment, name: value},
                start_new_session=True,
            )
        except OSError as error:
            raise WorkloadError(f"the compute process can't be started: {python}: {error.strerror}") from None
        finally:
            os.close(stderr)
            theirs.close()
        self._ring = RingReader(ring_fd)
        os.close(ring_fd)
        self._socket.setblocking(False)
        os.set_blocking(self._stderr, False)
        self._ended = os.pidfd_open(self.pid)
        self._send(task)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def in_hand(self) -> tuple[int, int]:
        """``(serial, position)`` of the parameter that it began last."""
        return self._ring.in_hand

    def pass_over(self, serial: int) -> None:
        """Has it pass over all assignments up to this one that it has not begun."""
        self._ring.pass_over(serial)

    def assign(self, assignments: Sequence[Assignment]) -> None:
        """Sends them, to be computed in this order after those before."""
        batch: list[Assignment] = []
        size = 0
        for assignment in assignments:
            batch.append(assignment)
            size += 64 + len(assignment[4] or b"") + 8 * len(assignment[3] or ())
            if size >= FRAME_BYTES:
                self._send(batch)
                batch, size = [], 0
        if batch:
            self._send(batch)

    def _send(self, message: Any) -> None:
        body = msgspec.json.encode(message)
        self._outgoing += struct.pack("!I", len(body)) + body
        self._flush()

    def _flush(self) -> None:
        while self._outgoing:
            try:
                sent = self._socket.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:
                # It is gone; that is seen, and told, by its end.
                self._outgoing.clear()
                return
            del self._outgoing[:sent]

    def wait(self, seconds: float, *, for_lines: bool = True) -> None:
        """Until it wrote a line (where that is asked for), ended, or the time is over."""
        self._ring.waits(for_lines)
        if for_lines and self._ring.has_news:
            seconds = 0.0
        ours = self._socket.fileno()
        writers = [ours] if self._outgoing else []
        readable, writable, _ = select.select([ours, self._stderr, self._ended], writers, [], seconds)
        self._ring.waits(False)
        if writable:
            self._flush()
        if ours in readable:
            with suppress(OSError):
                self._socket.recv(_READ_BYTES)
        if self._stderr in readable:
            self._pass_stderr_on()

    def _pass_stderr_on(self) -> None:
        with suppress(OSError):
            while written := os.read(self._stderr, _READ_BYTES):
                self._stderr_tail = (self._stderr_tail + written)[-STDERR_BYTES:]
                _write_all(sys.stderr.fileno(), written)

    def lines(self) -> list[bytes]:
        """What it wrote since the last call, see :mod:`ttg_worker.compute.ring`."""
        return self._ring.lines()

    def death(self) -> Death | None:
        """How it ended, None while it lives. What it wrote before may still be read."""
        code = self._process.poll()
        if code is None:
            return None
        self._pass_stderr_on()
        said = self._stderr_tail.decode("utf-8", "backslashreplace").strip()
        if code < 0:
            with suppress(ValueError):
                kind = signal.Signals(-code).name
                return Death(kind, f"{said}\ndied by {kind}".strip())
            return Death(f"signal {-code}", f"{said}\ndied by signal {-code}".strip())
        return Death(f"exit code {code}", f"{said}\nexit code {code}".strip())

    def memory_bytes(self) -> int:
        """What it and all that it started hold."""
        return process_tree.memory_bytes(self.pid)

    def terminate(self) -> None:
        """SIGTERM to it and all that it started."""
        process_tree.signal_tree(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Its end, at once, and that of all that it started; fine where it has ended already."""
        killed = process_tree.signal_tree(self.pid, signal.SIGKILL)
        self._process.wait()
        process_tree.end_orphans(killed, mark=self._mark)
        self._socket.close()
        os.close(self._ended)
        os.close(self._stderr)
        self._ring.close()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
