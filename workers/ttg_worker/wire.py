"""The wire format: what publishers, workers and observers say to each other, as JSON.

Every type is immutable and decodes strictly: an unknown field or a wrong type is an error, so
that a message of another version or program ends in the DLQ and not in a wrong result.
Times are Unix seconds, durations are seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from ttg_worker.errors import Undeliverable

Cause = Literal["failed", "delivery-limit", "malformed", "foreign-run"]
CAUSES: Final = ("failed", "delivery-limit", "malformed", "foreign-run")

# In place of a chunk's parameters: they are the indices themselves. Left out on the wire, which
# works by identity: no other empty ``Raw`` will do.
INDICES: Final = msgspec.Raw()

# What comes from a broker is input: a number beyond these bounds is no number of ours.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
# Worker ids become file names and keys.
WorkerId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]{0,252}$")]
CHUNK_PARAMETERS_MOST: Final = 1_000_000
SUMMARY_CHARACTERS: Final = 300
# Longer texts of errors are cut in the middle, see :func:`cut`.
ERROR_TEXT_BYTES: Final = 64 * 1024


class ParameterError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why these parameters of a chunk have no value; one entry for all that failed in the same words.

    ``offsets`` count from the chunk's first parameter and rise. ``kind`` is what ended the call: the name of
    an exception, ``SIGSEGV`` or another signal, ``exit code 3``, ``timeout``, ``memory``, ``value`` for a
    value that can't be kept, ``simulated`` for a fault of the run's plan. ``text`` is the traceback or the
    last lines of stderr, whichever there is.
    """

    offsets: tuple[Count, ...]
    kind: Annotated[str, msgspec.Meta(max_length=200)]
    text: str

    @property
    def summary(self) -> str:
        """The line that says what it was, such as ``ValueError: no such rate``; the last one in doubt."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        # Of an exception with many lines of text it is not the last.
        named = [line for line in lines if line.partition(":")[0].rpartition(".")[2] == self.kind]
        line = (named or lines or [self.kind])[-1]
        return line if len(line) <= SUMMARY_CHARACTERS else f"{line[:SUMMARY_CHARACTERS]}…"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why one attempt at a chunk did not give all its values; kept in the chunk's history."""

    attempt: int
    worker_id: str
    reason: str
    at: float


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parameters out of a half-open range ``[start, stop)`` of indices, the unit of work.

    ``offsets``, counted from ``start``, name the parameters that are still to be computed, in rising order;
    empty means all of the range. ``parameters`` is the JSON array of just these parameters' values; without
    it the parameters are the indices themselves. ``retries`` counts the attempts that a worker itself asked
    for so far, ``history`` says why.
    """

    run_id: Name
    chunk_id: Count
    start: Count
    stop: Count
    parameters: msgspec.Raw = INDICES
    retries: Count = 0
    history: tuple[Failure, ...] = ()
    offsets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.stop - self.start <= CHUNK_PARAMETERS_MOST:
            raise ValueError(
                f"chunk {self.chunk_id} [{self.start}, {self.stop}): expected start < stop, and at most "
                f"{CHUNK_PARAMETERS_MOST:,} parameters"
            )
        check_offsets(self.offsets, self.stop - self.start)

    @property
    def size(self) -> int:
        """How many parameters there are to compute."""
        return len(self.offsets) or self.stop - self.start

    @property
    def indices(self) -> Sequence[int]:
        """The indices of the parameters to compute, in order."""
        if not self.offsets:
            return range(self.start, self.stop)
        return [self.start + offset for offset in self.offsets]


class ChunkResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Values of one chunk, as one worker computed them.

    ``values`` is a JSON array with one value for each of ``offsets`` (empty: for every parameter of the
    chunk), in that order; ``digest`` is :func:`digest` of exactly these bytes. ``attempt`` counts
    deliveries of the chunk from 1, ``redelivered`` those of them that followed a crash. ``seconds`` says
    how long each of the values took, or is empty where all of them together took less than a
    millisecond. ``started_at`` and ``finished_at`` are of the worker's clock, which need not be right.
    """

    run_id: Name
    chunk_id: Count
    worker_id: Name
    attempt: Count
    redelivered: Count
    started_at: float
    finished_at: float
    digest: Annotated[str, msgspec.Meta(max_length=64)]
    values: msgspec.Raw
    offsets: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message given up, with why. ``chunk`` is None where the body was no chunk at all.

    ``errors`` name each parameter of the chunk that is given up once; empty where the chunk was given up as
    a whole. ``body`` is the start of a body that could not be read, as printable text.
    """

    run_id: str
    cause: Cause
    detail: str
    attempt: int
    worker_id: str
    at: float
    chunk: Chunk | None = None
    body: str = ""
    errors: tuple[ParameterError, ...] = ()


class Heartbeat(msgspec.Struct, frozen=True):
    """What a worker says of itself, at every change (5 times a second at the most) and every second.

    ``chunk_id`` is the chunk in hand, ``index`` the parameter of it that is being computed, ``held`` all
    chunks that the broker handed over and that have no safe result yet, the one in hand included.
    ``at`` and ``started_at`` are of the worker's own clock. Fields of a newer worker are passed over.
    """

    run_id: Name
    worker_id: WorkerId
    state: Literal["starting", "idle", "busy", "reconnecting", "stopping"]
    chunk_id: Count | None
    held: tuple[Count, ...]
    done: Count
    failed: Count
    started_at: float
    at: float
    index: Count | None = None


def check_offsets(offsets: Sequence[int], size: int) -> None:
    """Raises :class:`ValueError` unless the offsets rise and lie within a chunk of ``size`` parameters."""
    last = -1
    for offset in offsets:
        if not last < offset < size:
            raise ValueError(f"offset {offset}: expected offsets that rise, from 0 to {size - 1}")
        last = offset


def cut(text: str, *, most_bytes: int = ERROR_TEXT_BYTES) -> str:
    """The text, or its head and tail with a word on what was left out between, as valid UTF-8."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    half = most_bytes // 2
    head, tail = encoded[:half].decode("utf-8", "ignore"), encoded[-half:].decode("utf-8", "ignore")
    return f"{head}\n[{len(encoded) - 2 * half:,} bytes left out]\n{tail}"


_encoder = msgspec.json.Encoder()
_chunk_decoder = msgspec.json.Decoder(Chunk)
_result_decoder = msgspec.json.Decoder(ChunkResult)
_dead_letter_decoder = msgspec.json.Decoder(DeadLetter)
_heartbeat_decoder = msgspec.json.Decoder(Heartbeat)


def encode(message: Chunk | ChunkResult | DeadLetter | Heartbeat) -> bytes:
    """The message's body on the wire, UTF-8 JSON."""
    return _encoder.encode(message)


def decode_chunk(body: bytes, *, run_id: str) -> Chunk:
    """The chunk of this run that ``body`` holds.

    Raises :class:`Undeliverable` with cause ``malformed`` for anything that is no chunk, and
    ``foreign-run`` for a chunk of another run.
    """
    try:
        chunk = _chunk_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Undeliverable("malformed", f"not a chunk: {error}") from error
    if chunk.run_id != run_id:
        raise Undeliverable("foreign-run", f"a chunk of run {chunk.run_id!r} among those of {run_id!r}")
    return chunk


def decode_result(body: bytes) -> ChunkResult:
    """The result that ``body`` holds; ``msgspec.DecodeError`` or ``UnicodeDecodeError`` otherwise."""
    return _result_decoder.decode(body)


def decode_dead_letter(body: bytes) -> DeadLetter:
    """The dead letter that ``body`` holds; ``msgspec.DecodeError`` or ``UnicodeDecodeError`` otherwise."""
    return _dead_letter_decoder.decode(body)


def decode_heartbeat(body: bytes) -> Heartbeat:
    """The heartbeat that ``body`` holds; ``msgspec.DecodeError`` or ``UnicodeDecodeError`` otherwise."""
    return _heartbeat_decoder.decode(body)


def digest(values: bytes) -> str:
    """The checksum of a result's values: BLAKE2b over their JSON, 16 bytes, as hex."""
    return hashlib.blake2b(values, digest_size=16).hexdigest()


def printable(body: bytes, *, limit: int = 200) -> str:
    """The start of a body that could not be read, fit for a log line."""
    text = body[:limit].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
