"""What the ledger tells, as typed rows, and the way from SQLite's rows to them."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uploader.kinds import Kind
from uploader.queries import STORED_COLUMNS
from uploader.scan import Version
from uploader.settle import Proof
from uploader.states import State

if TYPE_CHECKING:
    import sqlite3


_INODES = 1 << 64


@dataclass(frozen=True, slots=True)
class Stored:
    """What the bucket holds, by the server's own record. ``mtime`` and ``at`` are Unix seconds."""

    sha256: str
    size: int
    mtime: float
    version: str | None
    step: int | None
    at: float


def columns_of(stored: Stored) -> dict[str, object]:
    """Return a row of what the bucket holds, as the ledger's statements name its parts."""
    return {
        "sha256": stored.sha256,
        "size": stored.size,
        "mtime": stored.mtime,
        "version": stored.version,
        "step": stored.step,
        "at": stored.at,
    }


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object of this run: its key below the run's prefix, where it came from, and what it is."""

    key: str
    path: str
    kind: Kind
    stored: Stored


@dataclass(frozen=True, slots=True)
class Known:
    """As much of a file as it takes to see that it has changed."""

    state: State
    version: Version


@dataclass(frozen=True, slots=True)
class Row:
    """A file in the ledger. ``stored`` may be of an older version than ``version``.

    ``first_seen`` is Unix seconds, ``next_try`` monotonic ones: a restart forgets it, and a clock that is set does not
    change it.

    ``source`` is the name of the copy in the spool that outlives the file itself.
    """

    path: str
    kind: Kind
    key: str
    state: State
    proof: Proof
    version: Version
    sha256: str | None
    step: int | None
    source: str | None
    upload_url: str | None
    attempts: int
    next_try: float
    error: str | None
    first_seen: float
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class Settled:
    """A version of a file that is complete and is to be delivered."""

    path: str
    kind: Kind
    key: str
    proof: Proof
    version: Version
    step: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """How many files are in a state, and their bytes."""

    files: int = 0
    bytes: int = 0


def seal_of(*values: object) -> int:
    """Return the seal of a row's values: a change that SQLite itself does not notice gives another one."""
    return zlib.crc32(repr(values).encode(errors="backslashreplace"))


def known_of(row: sqlite3.Row) -> Known:
    """Return state and version alone; raises ValueError for a state that this code does not know."""
    return Known(State(row["state"]), _version(row))


def row_of(row: sqlite3.Row) -> Row:
    """Return the typed row; raises ValueError for a state, kind or proof that this code does not know."""
    # By place: by name each column is searched for, in every row that is read.
    path, _folder, kind, key, state, proof, size, mtime_ns, inode, sha256, step, source, *rest = row
    upload_url, attempts, next_try, error, first_seen, *stored = rest
    return Row(
        path=os.fsdecode(path),
        kind=Kind(kind),
        key=key,
        state=State(state),
        proof=Proof(proof),
        version=Version(size, mtime_ns, inode % _INODES),
        sha256=sha256,
        step=step,
        source=source,
        upload_url=upload_url,
        attempts=attempts,
        next_try=next_try,
        error=error,
        first_seen=first_seen,
        stored=None if stored[0] is None else Stored(*stored),
    )


def _version(row: sqlite3.Row) -> Version:
    return Version(row["size"], row["mtime_ns"], row["inode"] % _INODES)


def inode_in_ledger(inode: int) -> int:
    """Return an inode as SQLite holds it: it has 64 bits and may use them all, and SQLite's integers have a sign."""
    return inode - _INODES if inode >= _INODES // 2 else inode


def stored_file_of(row: sqlite3.Row) -> StoredFile:
    """Return the typed row of an object, which a manifest may list; raises ValueError when it is not as written."""
    if row["seal"] != seal_of(*(row[column] for column in STORED_COLUMNS)):
        raise ValueError(f"what it says of {row['key']} is not what was written")
    stored = Stored(row["sha256"], row["size"], row["mtime"], row["version"], row["step"], row["at"])
    return StoredFile(key=row["key"], path=os.fsdecode(row["path"]), kind=Kind(row["kind"]), stored=stored)
