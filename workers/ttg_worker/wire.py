"""The wire format: what publishers, workers and observers say to each other, as JSON.

Every type is immutable and decodes strictly: an unknown field or a wrong type is an error, so
that a message of another version or program ends in the DLQ and not in a wrong result.
Times are Unix seconds, durations are seconds.
"""

from __future__ import annotations

import hashlib
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
# Worker ids become file names and keys.
WorkerId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]{0,252}$")]


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why one attempt at a chunk did not give a result; kept in the chunk's history."""

    attempt: int
    worker_id: str
    reason: str
    at: float


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A half-open range ``[start, stop)`` of parameter indices, the unit of work.

    ``parameters`` is the JSON array of the range's values; without it the parameters are the
    indices themselves. ``retries`` counts the attempts that a worker itself asked for so far,
    ``history`` says why.
    """

    run_id: str
    chunk_id: Count
    start: Count
    stop: Count
    parameters: msgspec.Raw = INDICES
    retries: Count = 0
    history: tuple[Failure, ...] = ()

    def __post_init__(self) -> None:
        if self.chunk_id < 0 or self.start < 0 or self.stop <= self.start or self.retries < 0:
            raise ValueError(
                f"chunk {self.chunk_id} [{self.start}, {self.stop}) retries={self.retries}: "
                "expected chunk_id >= 0, 0 <= start < stop, retries >= 0"
            )

    @property
    def size(self) -> int:
        return self.stop - self.start


class ChunkResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The values of one chunk, as one worker computed them.

    ``values`` is a JSON array with one value a parameter, in parameter order; ``digest`` is
    :func:`digest` of exactly these bytes. ``attempt`` counts deliveries of the chunk from 1,
    ``redelivered`` those of them that followed a crash.
    """

    run_id: str
    chunk_id: Count
    worker_id: str
    attempt: Count
    redelivered: Count
    started_at: float
    finished_at: float
    digest: str
    values: msgspec.Raw


class DeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message given up, with why. ``chunk`` is None where the body was no chunk at all.

    ``body`` is the start of a body that could not be read, as printable text.
    """

    run_id: str
    cause: Cause
    detail: str
    attempt: int
    worker_id: str
    at: float
    chunk: Chunk | None = None
    body: str = ""


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker says of itself, at every change (5 times a second at the most) and every second.

    ``chunk_id`` is the chunk in hand, ``held`` all that the broker handed over and that have no
    safe result yet, the one in hand included.
    """

    run_id: str
    worker_id: WorkerId
    state: Literal["starting", "idle", "busy", "reconnecting", "stopping"]
    chunk_id: Count | None
    held: tuple[Count, ...]
    done: int
    failed: int
    started_at: float
    at: float


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
