"""What the compute process tells the worker: lines in shared memory, which survive its death.

Writing costs no system call, and nothing that was written waits for anything: not for the call in hand to
return, not for the GIL, not for the process to live. The first words of the memory say what is in hand.

Lines end with a newline. A value is its JSON; every other line begins with a character that no JSON begins
with: ``@SECONDS`` how long the next outcome's call took, where that is a millisecond or more; ``!ERROR`` the
JSON of a failed call, in place of a value; ``<STARTED SECONDS`` the end of an assignment, with its start in
Unix seconds and its duration; ``~SERIAL`` an assignment passed over; ``=`` the function is loaded; ``?ERROR``
it can't be.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Callable  # noqa: UP035 (Python 3.9)

SIZE = 1 << 20
_HEADER = 4096
_HEAD, _TAIL, _IN_HAND, _PASS_OVER, _WORKER_WAITS = range(5)
_POSITION_BITS = 32
_FULL_SECONDS = 0.001


def make_memory() -> int:
    """A file descriptor of memory for one ring."""
    fd = os.memfd_create("ttg-compute")
    os.ftruncate(fd, _HEADER + SIZE)
    return fd


class _Ring:
    def __init__(self, fd: int) -> None:
        self._memory = memoryview(mmap.mmap(fd, _HEADER + SIZE))
        # Stores and loads of whole words are not torn.
        self.words = self._memory[:_HEADER].cast("Q")
        self._data = self._memory[_HEADER:]

    def close(self) -> None:
        self.words.release()
        self._data.release()
        self._memory.release()


class RingWriter(_Ring):
    """The compute process's end. ``wake`` is called when the worker waits for what was just written."""

    def __init__(self, fd: int, *, wake: Callable[[], None]) -> None:
        super().__init__(fd)
        self._wake = wake
        self._head = self._tail = self.words[_TAIL]

    def begin(self, serial: int, position: int) -> None:
        """What is in hand from now on: a parameter of an assignment, by its place there."""
        self.words[_IN_HAND] = serial << _POSITION_BITS | position

    def passes_over(self, serial: int) -> bool:
        """Whether the worker gave this assignment away; to be asked after :meth:`begin`."""
        return serial <= self.words[_PASS_OVER]

    def write(self, line: bytes) -> None:
        """Waits where the worker has not read enough yet."""
        tail, end = self._tail, self._tail + len(line)
        if end - self._head > SIZE:
            self._head = self.words[_HEAD]
            if end - self._head > SIZE:
                self._write_slowly(line)
                return
        place = tail % SIZE
        room = SIZE - place
        if len(line) <= room:
            self._data[place : place + len(line)] = line
        else:
            self._data[place:] = line[:room]
            self._data[: len(line) - room] = line[room:]
        self._tail = self.words[_TAIL] = end
        if self.words[_WORKER_WAITS]:
            self.words[_WORKER_WAITS] = 0
            self._wake()

    def _write_slowly(self, line: bytes) -> None:
        view = memoryview(line)
        while len(view):
            self._head = self.words[_HEAD]
            room = SIZE - (self._tail - self._head)
            if not room:
                if self.words[_WORKER_WAITS]:
                    self.words[_WORKER_WAITS] = 0
                    self._wake()
                time.sleep(_FULL_SECONDS)
                continue
            self.write(bytes(view[:room]))
            view = view[room:]


class RingReader(_Ring):
    """The worker's end."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._head = 0
        self._torn: list[bytes] = []

    @property
    def in_hand(self) -> tuple[int, int]:
        """``(serial, position)`` of the parameter that was begun last; serial 0 before the first."""
        word = self.words[_IN_HAND]
        return word >> _POSITION_BITS, word & (1 << _POSITION_BITS) - 1

    def pass_over(self, serial: int) -> None:
        """Has assignments up to this one passed over that are not begun, once it has returned."""
        self.words[_PASS_OVER] = serial
        # A begin that came before this must be visible to whoever looks at what is in hand now.
        time.sleep(_FULL_SECONDS)

    def waits(self, waits: bool) -> None:
        """Whether the writer is to wake the worker up with its next line."""
        self.words[_WORKER_WAITS] = int(waits)

    @property
    def has_news(self) -> bool:
        return self.words[_TAIL] != self._head

    def lines(self) -> list[bytes]:
        """The whole lines since the last call, without their newlines."""
        head, tail = self._head, self.words[_TAIL]
        if head == tail:
            return []
        place, length = head % SIZE, tail - head
        data = bytes(self._data[place : place + length])
        if len(data) < length:
            data += bytes(self._data[: length - len(data)])
        self._head = self.words[_HEAD] = tail
        if not data.endswith(b"\n"):
            whole, newline, torn = data.rpartition(b"\n")
            if not newline:
                self._torn.append(data)
                return []
            data = b"".join([*self._torn, whole])
            self._torn = [torn]
            return data.split(b"\n")
        if self._torn:
            data = b"".join([*self._torn, data])
            self._torn = []
        lines = data.split(b"\n")
        lines.pop()
        return lines
