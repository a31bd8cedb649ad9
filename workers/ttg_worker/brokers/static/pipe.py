"""``python -m ttg_worker.brokers.static.pipe FOLDER RESULTS DEAD_LETTERS``: a pod's fixed share, to and fro.

Stdin and stdout are lines of JSON, each a :class:`Piece`. First it says how much of the plan is here
already; then it takes pieces of the plan, and gives what the worker writes: results and dead letters
from the two places named on, and each new heartbeat. It ends when stdin does. Every piece has its place,
so whoever lost the connection opens another one and goes on where it broke off.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.static.files import StaticFiles

TICK_SECONDS: Final = 0.05
BLOCK: Final = 1 << 16


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole lines of a file, and the place in it where they begin; of a heartbeat, the newest one."""

    file: Literal["plan", "results", "dead_letters", "heartbeat"]
    position: int
    # JSON has them in base64: a stream of text can't tear a character apart then.
    lines: bytes

    def to_line(self) -> bytes:
        return msgspec.json.encode(self) + b"\n"


def read_piece(line: bytes | str) -> Piece:
    """The piece on a line; ``msgspec.DecodeError`` for anything else."""
    return msgspec.json.decode(line, type=Piece)


class _UnsentPieces:
    """What the worker wrote and nobody was given yet."""

    def __init__(self, files: StaticFiles, *, results: int, dead_letters: int) -> None:
        self._files = files
        self._positions = {"results": results, "dead_letters": dead_letters}
        self._heartbeats: list[wire.Heartbeat] = []

    def pieces(self) -> Iterator[Piece]:
        # A heartbeat is read before the results and given after them: it never knows more than they do.
        heartbeats = self._files.read_heartbeats()
        yield from self._lines("results")
        yield from self._lines("dead_letters")
        for heartbeat in heartbeats:
            if heartbeat not in self._heartbeats:
                yield Piece("heartbeat", 0, wire.encode(heartbeat))
        self._heartbeats = heartbeats

    def _lines(self, name: Literal["results", "dead_letters"]) -> Iterator[Piece]:
        file = self._files.results if name == "results" else self._files.dead_letters
        while block := file.block(self._positions[name], most=BLOCK):
            yield Piece(name, self._positions[name], block)
            self._positions[name] += len(block)


def _take_plan(files: StaticFiles, ended: threading.Event) -> None:
    try:
        for line in sys.stdin.buffer:
            # A connection that broke may have left half a line.
            if line.endswith(b"\n"):
                piece = read_piece(line)
                files.plan.put(piece.position, piece.lines)
    finally:
        ended.set()


def _give(piece: Piece) -> None:
    sys.stdout.buffer.write(piece.to_line())
    sys.stdout.buffer.flush()


def main() -> None:
    folder, results, dead_letters = sys.argv[1:]
    files = StaticFiles(Path(folder))
    files.make()
    news = _UnsentPieces(files, results=int(results), dead_letters=int(dead_letters))
    ended = threading.Event()
    # Apart from the giving: whoever gives waits for the other side to read, which may be giving too.
    taker = threading.Thread(target=_take_plan, args=(files, ended), daemon=True)
    with suppress(BrokenPipeError):
        _give(Piece("plan", files.plan.end(), b""))
        taker.start()
        while not ended.wait(TICK_SECONDS):
            for piece in news.pieces():
                _give(piece)


if __name__ == "__main__":
    main()
