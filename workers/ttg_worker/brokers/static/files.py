"""Files of lines that several processes append to and read while they grow."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ttg_worker import wire
from ttg_worker.torn_line import end_of_whole_lines
from ttg_worker.wire import Heartbeat


class LineFile:
    """Bytes without a newline, one a line. A line is whole or it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._counted = (0, 0)

    def append(self, lines: Sequence[bytes]) -> None:
        """All lines are in the file when it returns; safe against the death of this process.

        A line that a killed writer left unfinished is cut off first: nobody has read it.
        """
        with self.path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = end_of_whole_lines(file.fileno())
            file.truncate(end)
            file.seek(end)
            file.write(b"".join(line + b"\n" for line in lines))

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """``(place after it, line)`` of every whole line from the place ``position`` on."""
        with self.path.open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                yield position, line[:-1]

    def block(self, position: int, *, most: int) -> bytes:
        """The next whole lines from the place ``position`` on; more than ``most`` bytes only of one line."""
        with self.path.open("rb") as file:
            file.seek(position)
            block = file.read(most)
            if len(block) == most and b"\n" not in block:
                block += file.readline()
        return block[: block.rfind(b"\n") + 1]

    def put(self, position: int, block: bytes) -> None:
        """Writes whole lines at their place: the same ones again change nothing, whoever writes them."""
        with self.path.open("r+b") as file:
            file.seek(position)
            file.write(block)

    def end(self) -> int:
        """The place after the last whole line."""
        with self.path.open("rb") as file:
            return end_of_whole_lines(file.fileno())

    def count(self) -> int:
        """Whole lines now; reads only what was added since the last call."""
        position, lines = self._counted
        with self.path.open("rb") as file:
            file.seek(position)
            added = file.read()
        whole = added.rfind(b"\n") + 1
        self._counted = (position + whole, lines + added.count(b"\n", 0, whole))
        return self._counted[1]


class StaticFiles:
    """What a run without a queue keeps in its folder: the plan, results, letters and heartbeats."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._heartbeats = folder / "heartbeats"
        self.plan = LineFile(folder / "plan.jsonl")
        self.results = LineFile(folder / "results.jsonl")
        self.dead_letters = LineFile(folder / "dead-letters.jsonl")

    @property
    def exist(self) -> bool:
        return self._heartbeats.is_dir()

    def make(self) -> None:
        """Makes what is not there; the folder of the heartbeats last, by which the others are known."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (self.plan, self.results, self.dead_letters):
            file.path.touch()
        self._heartbeats.mkdir(exist_ok=True)

    def remove(self) -> None:
        if self.exist:
            shutil.rmtree(self._folder)

    def write_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Best effort: a heartbeat that can't be written is one that nobody hears."""
        part = self._heartbeats / f"{heartbeat.worker_id}.part"
        with suppress(OSError):
            part.write_bytes(wire.encode(heartbeat))
            part.rename(self._heartbeats / f"{heartbeat.worker_id}.json")

    def read_heartbeats(self) -> list[Heartbeat]:
        """The newest of each worker; a file that is none informs of nothing."""
        found = []
        for path in sorted(self._heartbeats.glob("*.json")):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                found.append(wire.decode_heartbeat(path.read_bytes()))
        return found
