"""Values that earlier runs have of the same function and parameters: taken over, not computed again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ttg_worker import wire
from ttg_worker.brokers.base import Recorded
from ttg_worker.wire import ChunkResult
from ttgctl.core.account.ledger import Ledger
from ttgctl.core.inputs.parameters import ParameterSource
from ttgctl.core.records.run_folder import DamagedRun, RunFolder
from ttgctl.domain.run import RunSpec

# In place of a worker's name in the ledger.
REUSED: Final = "reused"


@dataclass(frozen=True)
class Function:
    """A user's function: its name in a specification, and the files that it consists of.

    One without files is imported by name, and may have been another one before.
    """

    workload: str
    chunk_function: bool
    files: Mapping[str, bytes]

    def is_of(self, run: RunFolder) -> bool:
        """Whether a run has computed this very function."""
        try:
            spec = run.read_spec()
        except DamagedRun:
            return False
        if not self.files or (spec.workload, spec.chunk_function) != (self.workload, self.chunk_function):
            return False
        theirs = {path.relative_to(run.workload).as_posix(): path for path in run.workload.rglob("*")}
        theirs = {name: path for name, path in theirs.items() if path.is_file()}
        return self.files.keys() == theirs.keys() and all(
            content == theirs[name].read_bytes() for name, content in self.files.items()
        )


class KnownValues:
    """Encoded values, with the seconds that they took, by parameter. On disk, for as long as it is open."""

    def __init__(self) -> None:
        # SQLite's own temporary file, which is gone with the connection.
        self._db = sqlite3.connect("")
        self._db.execute(
            "CREATE TABLE known (parameter BLOB PRIMARY KEY, value BLOB NOT NULL, seconds REAL NOT NULL)"
            " WITHOUT ROWID"
        )

    def add(self, spec: RunSpec, ledger: Ledger, source: ParameterSource) -> None:
        """All values of a run; what is known already stays as it is."""
        for chunk in ledger.chunks():
            if chunk.values is None:
                continue
            parameters = source.values(spec.chunk_range(chunk.chunk_id))
            values = msgspec.json.decode(chunk.values, type=list[msgspec.Raw])
            self._db.executemany(
                "INSERT OR IGNORE INTO known VALUES (?, ?, ?)",
                [
                    (_key(parameters[offset]), bytes(value), seconds)
                    for offset, value, seconds in zip(chunk.offsets, values, chunk.seconds, strict=True)
                ],
            )

    def find(self, parameters: Iterable[Any]) -> list[tuple[bytes, float] | None]:
        """What is known of each."""
        look = "SELECT value, seconds FROM known WHERE parameter = ?"
        return [self._db.execute(look, (_key(parameter),)).fetchone() for parameter in parameters]

    def close(self) -> None:
        self._db.close()


def _key(parameter: Any) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(parameter, order="sorted"), digest_size=16).digest()


def take_over(ledger: Ledger, spec: RunSpec, source: ParameterSource, earlier: Sequence[RunFolder]) -> int:
    """Records what earlier runs know of this one's parameters, all or nothing; how many these are. To be
    done before anything is published."""
    with closing(KnownValues()) as known:
        for folder in earlier:
            earlier_spec = folder.read_spec()
            with closing(Ledger(folder.ledger, earlier_spec)) as earlier_ledger:
                known.add(earlier_spec, earlier_ledger, folder.source(earlier_spec))
        count = 0
        for position, (chunk_id, indices) in enumerate(spec.chunk_ranges()):
            found = known.find(source.values(indices))
            offsets = [offset for offset, each in enumerate(found) if each is not None]
            if offsets:
                result = _result(spec, chunk_id, indices, offsets, [each for each in found if each])
                ledger.record_result(Recorded(position, result))
                count += len(offsets)
    ledger.record_reused(count)
    return count


def _result(
    spec: RunSpec, chunk_id: int, indices: range, offsets: Sequence[int], found: Sequence[tuple[bytes, float]]
) -> ChunkResult:
    values = b"[%b]" % b",".join(value for value, _ in found)
    seconds = tuple(seconds for _, seconds in found)
    return ChunkResult(
        run_id=spec.run_id,
        chunk_id=chunk_id,
        worker_id=REUSED,
        attempt=1,
        redelivered=0,
        # When it was computed is in the earlier run's account; here it took no time.
        started_at=0.0,
        finished_at=0.0,
        digest=wire.digest(values),
        values=msgspec.Raw(values),
        offsets=() if len(offsets) == len(indices) else tuple(offsets),
        seconds=seconds if any(seconds) else (),
    )
