"""The ledger: what is known of every file, durably. The only module that touches SQLite.

One connection, guarded by a lock, since the lanes record the resumable upload's address themselves before they send a
byte to it. Everything else is written by the daemon's own thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from uploader import queries
from uploader.kinds import Kind
from uploader.scan import Version
from uploader.settle import Proof
from uploader.states import State, check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


class LedgerError(RuntimeError):
    """The ledger cannot be read, or is of a version that this code does not know."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the bucket holds, by the server's own record. ``mtime`` and ``at`` are Unix seconds."""

    sha256: str
    size: int
    mtime: float
    version: str | None
    step: int | None
    at: float


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object of this run: its key below the run's prefix, where it came from, and what it is."""

    key: str
    path: str
    kind: Kind
    stored: Stored


@dataclass(frozen=True, slots=True)
class Row:
    """A file in the ledger. Times are Unix seconds; ``stored`` may be of an older version than ``version``."""

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


class Ledger:
    """The files of one run. Methods raise sqlite3.Error when the disk refuses."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``, making it where there is none.

        Raises LedgerError when what lies there is no ledger of this version.
        """
        self.path = path
        self._lock = threading.RLock()
        self.is_new = not path.exists()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise LedgerError(f"{path} is not a ledger that can be read: {error}") from error

    def _open(self) -> None:
        for pragma in queries.PRAGMAS:
            self._connection.execute(pragma)
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.transaction():
                self._create()
        elif version != queries.SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it has version {version}, this is version {queries.SCHEMA_VERSION}")
        self._connection.execute(queries.RECOVER)

    def _create(self) -> None:
        self.is_new = True
        for statement in queries.SCHEMA.split(";\n"):
            if statement.strip():
                self._connection.execute(statement)
        self._connection.execute(f"PRAGMA user_version = {queries.SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file. Nothing depends on this having been called."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything written inside durable at once, or none of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, parameters).fetchall()

    def _write(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        with self._lock:
            return self._connection.execute(query, parameters).rowcount

    # Reading

    def file(self, path: str) -> Row | None:
        """Return what is known of the file at ``path``."""
        return next((_row(row) for row in self._rows(queries.FILE, (os.fsencode(path),))), None)

    def in_folder(self, folder: str) -> dict[str, Row]:
        """Return the files directly in ``folder`` by path."""
        return {row.path: row for row in map(_row, self._rows(queries.IN_FOLDER, (os.fsencode(folder),)))}

    def key_owner(self, key: str) -> str | None:
        """Return the path of the file that has ``key``."""
        return next((os.fsdecode(row["path"]) for row in self._rows(queries.KEY_OWNER, (key,))), None)

    def next_small(self, now: float, limit: int, count: int) -> list[Row]:
        """Return up to ``count`` files of at most ``limit`` bytes to send now, the longest waiting first, logs last."""
        return self._next(queries.NEXT_SMALL, now, limit, count)

    def next_large(self, now: float, limit: int, count: int, *, newest_first: bool) -> list[Row]:
        """Return up to ``count`` files of more than ``limit`` bytes to send now.

        ``newest_first`` is the order of the drain: the newest checkpoint, its optimizer state, then the rest.
        """
        query = queries.NEXT_LARGE_NEWEST if newest_first else queries.NEXT_LARGE_OLDEST
        return self._next(query, now, limit, count)

    def next_optimizer(self, now: float) -> list[Row]:
        """Return the optimizer state when it waits to be sent."""
        return self._next(queries.NEXT_OPTIMIZER, now, 0, 1)

    def _next(self, query: str, now: float, limit: int, count: int) -> list[Row]:
        return [_row(row) for row in self._rows(query, {"now": now, "limit": limit, "count": count})]

    def totals(self) -> dict[State, Total]:
        """Return files and bytes by state."""
        found = {State(state): Total(files, size) for state, files, size in self._rows(queries.TOTALS)}
        return {state: found.get(state, Total()) for state in State}

    def undelivered(self) -> list[Row]:
        """Return every file whose newest version is not in the bucket."""
        return [_row(row) for row in self._rows(queries.UNDELIVERED)]

    def stored(self) -> Iterator[StoredFile]:
        """Yield everything of this run that is in the bucket, by key, a page at a time."""
        last = ""
        while page := [_stored_file(row) for row in self._rows(queries.ALL_STORED, (last, 500))]:
            yield from page
            last = page[-1].key

    def stored_total(self) -> Total:
        """Return how many files of this run are in the bucket, and their bytes."""
        files, size = self._rows(queries.STORED_TOTAL)[0]
        return Total(files, size)

    def newest_stored(self, kind: Kind, count: int) -> list[StoredFile]:
        """Return the newest files of ``kind`` that are in the bucket, newest first."""
        return [_stored_file(row) for row in self._rows(queries.NEWEST_STORED, (kind, count))]

    def oldest_waiting_checkpoint(self) -> float | None:
        """Return since when (Unix seconds) the oldest undelivered checkpoint has been waiting."""
        since: float | None = self._rows(queries.OLDEST_WAITING_CHECKPOINT)[0][0]
        return since

    def known_object(self, key: str) -> tuple[int, str | None] | None:
        """Return size and eTag of the object that lay at ``key`` when this ledger was made."""
        return next(((row["size"], row["etag"]) for row in self._rows(queries.KNOWN_OBJECT, (key,))), None)

    def fact(self, name: str) -> str | None:
        """Return a remembered value."""
        return next((row["value"] for row in self._rows(queries.FACT, (name,))), None)

    # Writing

    def settled(self, file: Settled, now: float) -> None:
        """Record a version that is complete, so that it will be sent."""
        self._write(
            queries.SETTLED,
            {
                **_identity(file.path, file.version),
                "folder": os.fsencode(file.path.rpartition("/")[0]),
                "kind": file.kind,
                "key": file.key,
                "proof": file.proof,
                "step": file.step,
                "source": file.source,
                "now": now,
            },
        )

    def refused(self, path: str, kind: Kind, key: str, version: Version, reason: str, now: float) -> None:
        """Record a file that cannot be carried at all, so that it is listed as missing."""
        values = {"folder": os.fsencode(path.rpartition("/")[0]), "kind": kind, "key": key, "error": reason, "now": now}
        self._write(queries.REFUSED, {**_identity(path, version), **values})

    def start(self, row: Row) -> bool:
        """Mark a file as being sent. Returns False when it is no longer to be sent."""
        check(row.state, State.SENDING)
        return self._write(queries.START, (os.fsencode(row.path),)) == 1

    def hashed(self, row: Row, sha256: str) -> None:
        """Remember the digest of the version in ``row``."""
        self._write(queries.HASHED, (sha256, *_key_of(row)))

    def upload_url(self, row: Row, url: str | None) -> None:
        """Remember where the version in ``row`` is being uploaded to, before the first byte goes there."""
        self._write(queries.UPLOAD_URL, (url, *_key_of(row)))

    def delivered(self, row: Row, stored: Stored) -> None:
        """Record what the server's own record says of the object, and that the version is delivered if it is that."""
        with self.transaction():
            values = {"key": row.key, "path": os.fsencode(row.path), "kind": row.kind, **asdict(stored)}
            self._write(queries.STORED, values)
            self._write(queries.DELIVERED, {**_identity(row.path, row.version), "sha256": stored.sha256})

    def retry_later(self, row: Row, attempts: int, next_try: float, error: str) -> None:
        """Put a file back in the queue until ``next_try`` (Unix seconds)."""
        values = {"path": os.fsencode(row.path), "attempts": attempts, "next_try": next_try, "error": error}
        self._write(queries.RETRY_LATER, values)

    def end(self, row: Row, old: State, new: State, reason: str) -> None:
        """Move a file from ``old`` to FAILED or GONE, with the reason that will be shown."""
        check(old, new)
        self._write(queries.END, {"path": os.fsencode(row.path), "state": new, "old": old, "error": reason})

    def revive(self) -> int:
        """Give every failed file another chance; returns how many there were."""
        return self._write(queries.REVIVE)

    def hurry(self) -> None:
        """Let everything that waits be sent now."""
        self._write(queries.HURRY)

    def add_objects(self, objects: Iterable[tuple[str, int, str | None]]) -> None:
        """Remember what lies under the prefix already: key, size, eTag."""
        with self.transaction():
            self._connection.executemany(queries.ADD_OBJECT, objects)

    def set_fact(self, name: str, value: str) -> None:
        """Remember a value."""
        self._write(queries.SET_FACT, (name, value))


def _identity(path: str, version: Version) -> dict[str, Any]:
    return {
        "path": os.fsencode(path),
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "inode": version.inode,
    }


def _key_of(row: Row) -> tuple[bytes, int, int, int]:
    return os.fsencode(row.path), row.version.size, row.version.mtime_ns, row.version.inode


def _row(row: sqlite3.Row) -> Row:
    """Return the typed row; raises ValueError for a state, kind or proof that this code does not know."""
    stored = None
    if row["stored_sha256"] is not None:
        stored = Stored(
            sha256=row["stored_sha256"],
            size=row["stored_size"],
            mtime=row["stored_mtime"],
            version=row["stored_version"],
            step=row["stored_step"],
            at=row["stored_at"],
        )
    return Row(
        path=os.fsdecode(row["path"]),
        kind=Kind(row["kind"]),
        key=row["key"],
        state=State(row["state"]),
        proof=Proof(row["proof"]),
        version=Version(row["size"], row["mtime_ns"], row["inode"]),
        sha256=row["sha256"],
        step=row["step"],
        source=row["source"],
        upload_url=row["upload_url"],
        attempts=row["attempts"],
        next_try=row["next_try"],
        error=row["error"],
        first_seen=row["first_seen"],
        stored=stored,
    )


def _stored_file(row: sqlite3.Row) -> StoredFile:
    stored = Stored(row["sha256"], row["size"], row["mtime"], row["version"], row["step"], row["at"])
    return StoredFile(key=row["key"], path=os.fsdecode(row["path"]), kind=Kind(row["kind"]), stored=stored)
