"""A run's dead letters as its ledger has them, and what is done about them on the broker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from ttg_worker.brokers.attempts import replayed
from ttg_worker.brokers.base import Broker, Recorded
from ttg_worker.wire import Chunk, DeadLetter
from ttgctl.core.account.ledger import DEAD, DROPPED, REPLAYED, REPLAYING, Ledger

# So many are put back before the ledger is told: few enough that a crash repeats little.
BATCH: Final = 100


@dataclass(frozen=True)
class Entry:
    """``number`` counts a run's dead letters from 1, in the order of their recording.

    ``has_result`` says that all the letter's parameters have values all the same.
    """

    number: int
    letter: Recorded[DeadLetter]
    state: str
    has_result: bool

    @property
    def chunk_id(self) -> int | None:
        chunk = self.letter.message.chunk
        return None if chunk is None else chunk.chunk_id

    @property
    def replayable(self) -> bool:
        """Whether putting it back can gain anything."""
        return self.state == DEAD and self.letter.message.chunk is not None and not self.has_result


@dataclass(frozen=True, kw_only=True)
class LetterFilter:
    """Some of the dead letters; what is left empty leaves none out. ``older_than_seconds`` is of age."""

    numbers: Collection[int] = ()
    chunks: Collection[int] = ()
    causes: Collection[str] = ()
    older_than_seconds: float = 0.0

    def of(self, entries: Sequence[Entry], *, now: float) -> list[Entry]:
        """Those that fit; ``now`` in Unix seconds. Raises :class:`LookupError` for a number or chunk
        that is not among ``entries`` at all."""
        for what, wanted, there in (
            ("number", self.numbers, {entry.number for entry in entries}),
            ("chunk", self.chunks, {entry.chunk_id for entry in entries}),
        ):
            unknown = sorted(set(wanted) - there)
            if unknown:
                raise LookupError(f"no dead letter with {what} {', '.join(map(str, unknown))}")
        return [entry for entry in entries if self._fits(entry, now)]

    def _fits(self, entry: Entry, now: float) -> bool:
        letter = entry.letter.message
        return (
            (not self.numbers or entry.number in self.numbers)
            and (not self.chunks or entry.chunk_id in self.chunks)
            and (not self.causes or letter.cause in self.causes)
            and now - letter.at >= self.older_than_seconds
        )


def entries(ledger: Ledger) -> list[Entry]:
    """All dead letters that the ledger knows of, oldest first."""
    found = []
    for number, (letter, state) in enumerate(ledger.dead_letters(), 1):
        chunk = letter.message.chunk
        found.append(Entry(number, letter, state, chunk is not None and not ledger.gains_from(chunk)))
    return found


def want_back(ledger: Ledger, chosen: Sequence[Entry]) -> int:
    """Marks what can be put back for :func:`settle_with_broker`; returns how many chunks that are.

    From then on these chunks are outstanding and no longer given up.
    """
    back = [entry for entry in chosen if entry.replayable]
    ledger.settle_dead_letters([entry.letter.position for entry in back], REPLAYING)
    return len({entry.chunk_id for entry in back})


def settle_with_broker(broker: Broker, run_id: str, ledger: Ledger) -> list[Chunk]:
    """Does on the broker what the ledger says of dead letters; returns the chunks that are back. Letters of
    queues that are gone are none of this broker's, and what they want back is published.

    Each chunk, or part of a chunk, is put back once, however many letters it has. What a command that died
    in the middle had done already may be done again: a chunk put back twice is a duplicate at worst.
    """
    discard_dropped(broker, run_id, ledger)
    found = entries(ledger)
    newest: dict[object, Entry] = {}
    superseded = []
    for entry in found:
        if entry.state == REPLAYING:
            chunk = entry.letter.message.chunk
            part = None if chunk is None else (chunk.chunk_id, chunk.offsets)
            if part in newest:
                superseded.append(newest[part])
            newest[part] = entry
    _in_batches(superseded, lambda entry: _discard(broker, run_id, entry), ledger)
    _in_batches(list(newest.values()), lambda entry: _put_back(broker, run_id, entry), ledger)
    return [chunk for entry in newest.values() if (chunk := entry.letter.message.chunk) is not None]


def _put_back(broker: Broker, run_id: str, entry: Entry) -> None:
    if entry.letter.position >= 0:
        broker.replay(run_id, entry.letter)
        return
    with closing(broker.publisher(run_id)) as publisher:
        for _ in publisher.publish([replayed(entry.letter)]):
            pass


def _discard(broker: Broker, run_id: str, entry: Entry) -> None:
    if entry.letter.position >= 0:
        broker.discard(run_id, entry.letter)


def discard_dropped(broker: Broker, run_id: str, ledger: Ledger) -> None:
    """Lets the broker forget what the ledger says is dropped, in part or not at all forgotten yet."""
    for letter, state in ledger.dead_letters():
        if state == DROPPED and letter.position >= 0:
            broker.discard(run_id, letter)


def _in_batches(found: list[Entry], act: Callable[[Entry], None], ledger: Ledger) -> None:
    for first in range(0, len(found), BATCH):
        batch = found[first : first + BATCH]
        for entry in batch:
            act(entry)
        ledger.settle_dead_letters([entry.letter.position for entry in batch], REPLAYED)
