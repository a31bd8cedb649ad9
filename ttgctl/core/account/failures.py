"""Which parameters of a run failed, and why, as its dead letters tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ttg_worker.wire import DeadLetter, ParameterError
from ttgctl.core.account.ledger import DEAD, DROPPED, Ledger
from ttgctl.domain.run import RunSpec
from ttgctl.domain.verdict import ErrorSummary

# So many different errors are told of a run, and so many parameters by name for each.
ERRORS_TOLD: Final = 20
PARAMETERS_NAMED: Final = 5


@dataclass(frozen=True)
class Failure:
    """Parameters of one chunk, by their indices in the sweep, that failed in the same words."""

    indices: Sequence[int]
    error: ParameterError
    attempts: int


def failures(ledger: Ledger, spec: RunSpec) -> Iterator[Failure]:
    """All that is given up and has no value, chunk by chunk in the order of their letters; of a parameter
    with several letters the newest counts."""
    newest: dict[int, list[DeadLetter]] = {}
    for recorded, state in ledger.dead_letters():
        chunk = recorded.message.chunk
        if chunk is not None and state in (DEAD, DROPPED):
            newest.setdefault(chunk.chunk_id, []).append(recorded.message)
    for chunk_id, letters in newest.items():
        left = set(ledger.failed_offsets(chunk_id))
        first = spec.chunk_range(chunk_id).start if left else 0
        for letter in reversed(letters):
            for error in errors_of(letter):
                offsets = [offset for offset in error.offsets if offset in left]
                left.difference_update(offsets)
                if offsets:
                    yield Failure([first + offset for offset in offsets], error, letter.attempt)


def errors_of(letter: DeadLetter) -> Sequence[ParameterError]:
    """One error at least for each parameter of the letter's chunk; none where it holds no chunk."""
    chunk = letter.chunk
    if letter.errors or chunk is None:
        return letter.errors
    offsets = chunk.offsets or tuple(range(chunk.stop - chunk.start))
    return (ParameterError(offsets, letter.cause, letter.detail),)


def summaries(ledger: Ledger, spec: RunSpec) -> tuple[ErrorSummary, ...]:
    """The different errors, the most frequent first, with how many parameters had each."""
    counts: dict[str, int] = {}
    named: dict[str, list[int]] = {}
    for failure in failures(ledger, spec):
        words = failure.error.summary
        counts[words] = counts.get(words, 0) + len(failure.indices)
        known = named.setdefault(words, [])
        known.extend(failure.indices[: PARAMETERS_NAMED - len(known)])
    most = sorted(counts, key=lambda words: -counts[words])[:ERRORS_TOLD]
    return tuple(
        ErrorSummary(error=words, count=counts[words], parameters=tuple(sorted(named[words])))
        for words in most
    )
