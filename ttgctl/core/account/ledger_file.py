"""The ledger's file: its tables, and those of older versions brought up to date."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# A whole chunk is one row of results. Values of a chunk that is not whole yet are its parts, by the position
# of the message that brought them; the last one makes a row of results of them all. Lists of offsets are
# arrays of 32 bits, seconds of 32-bit floats, one each a value, NULL for all and for too short to tell.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS results (
  chunk_id INTEGER PRIMARY KEY, position INTEGER NOT NULL, digest TEXT NOT NULL, vals BLOB NOT NULL,
  worker_id TEXT NOT NULL, attempt INTEGER NOT NULL, redelivered INTEGER NOT NULL,
  started_at REAL NOT NULL, finished_at REAL NOT NULL, seconds BLOB
);
CREATE TABLE IF NOT EXISTS parts (
  position INTEGER PRIMARY KEY, chunk_id INTEGER NOT NULL, offsets BLOB, vals BLOB NOT NULL,
  worker_id TEXT NOT NULL, attempt INTEGER NOT NULL, redelivered INTEGER NOT NULL,
  started_at REAL NOT NULL, finished_at REAL NOT NULL, seconds BLOB
);
CREATE INDEX IF NOT EXISTS parts_by_chunk ON parts (chunk_id);
CREATE TABLE IF NOT EXISTS extras (
  position INTEGER PRIMARY KEY, kind TEXT NOT NULL, chunk_id INTEGER, worker_id TEXT, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS dead_letters (
  position INTEGER PRIMARY KEY, chunk_id INTEGER, cause TEXT NOT NULL, retries INTEGER NOT NULL,
  letter BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'dead', offsets BLOB
);
CREATE INDEX IF NOT EXISTS dead_letters_by_chunk ON dead_letters (chunk_id);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
# What files of before these columns lack.
_ADDED: Final = (("results", "seconds"), ("dead_letters", "offsets"))


def open_ledger_file(path: Path | str) -> sqlite3.Connection:
    """The file with all tables as they are now; made where there is none."""
    db = sqlite3.connect(path, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    for table, column in _ADDED:
        columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        if column not in columns:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column} BLOB")
    return db


def packed_offsets(offsets: Sequence[int]) -> bytes | None:
    """For a column of offsets; None for all of a chunk's."""
    return array("I", offsets).tobytes() if offsets else None


def unpacked_offsets(packed: bytes | None, *, size: int) -> Sequence[int]:
    """The offsets of a column, of a chunk with ``size`` parameters."""
    return range(size) if packed is None else array("I", packed)


def packed_seconds(seconds: Sequence[float]) -> bytes | None:
    """For a column of seconds."""
    return array("f", seconds).tobytes() if seconds else None


def unpacked_seconds(packed: bytes | None, *, size: int) -> Sequence[float]:
    """One number for each of ``size`` values; 0 where it was too short to tell."""
    return [0.0] * size if packed is None else array("f", packed)
