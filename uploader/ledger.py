"""The ledger: what is known of every file of a run, durably."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shared import folders, keys
from uploader import queries
from uploader.kinds import INCOMPLETE, Kind
from uploader.ledger_file import LedgerFile
from uploader.paths import printable
from uploader.rows import Total, columns_of, inode_in_ledger, known_of, row_of, stored_file_of
from uploader.scan import Version
from uploader.states import State, check

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from uploader.rows import Known, Row, Settled, Stored, StoredFile

_PAGE = 500
_OVERWRITTEN = "it is no longer in the bucket: another run wrote over it, or somebody deleted it there"


class Ledger(LedgerFile):
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``, making it where there is none.

        Raises LedgerError when what lies there is no whole ledger of this version.
        """
        # How many files have been given up as gone since this was opened.
        self.gone = 0
        super().__init__(path)

    # Reading

    def file(self, path: str) -> Row | None:
        """Return what is known of the file at ``path``."""
        return next(iter(self._typed(row_of, queries.FILE, (os.fsencode(path),))), None)

    def in_folder(self, folder: str) -> Iterator[tuple[str, Known]]:
        """Yield the files directly in ``folder``, by path, a page at a time."""
        last = b""
        while page := self._typed(_named, queries.IN_FOLDER, (os.fsencode(folder), last, _PAGE)):
            yield from page
            last = os.fsencode(page[-1][0])

    def known(self, path: str) -> Known | None:
        """Return as much of the file at ``path`` as it takes to see that it has changed."""
        return next(iter(self._typed(known_of, queries.KNOWN, (os.fsencode(path),))), None)

    def key_owner(self, key: str) -> str | None:
        """Return the path of the file that has ``key``."""
        return next((os.fsdecode(row["path"]) for row in self._rows(queries.KEY_OWNER, {"key": key})), None)

    def next_small(self, now: float, limit: int, count: int, *, newest_first: bool = False) -> list[Row]:
        """Return up to ``count`` files of at most ``limit`` bytes to send now, the longest waiting first, logs last.

        ``newest_first`` is the order of the drain: before all others the checkpoints, from new to old.
        """
        first = self._next(queries.NEXT_SMALL_CHECKPOINTS, now, limit, count) if newest_first else []
        known = {row.path for row in first}
        rest = self._next(queries.NEXT_SMALL, now, limit, count)
        return [*first, *(row for row in rest if row.path not in known)][:count]

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
        return self._typed(row_of, query, {"now": now, "limit": limit, "count": count})

    def totals(self) -> dict[State, Total]:
        """Return files and bytes by state."""
        found = dict(self._made(_total, self._count(queries.TOTALS)))
        return {state: found.get(state, Total()) for state in State}

    def waits(self) -> bool:
        """Return whether any file is to be sent, or is being sent."""
        return bool(self._rows(queries.WAITS))

    def undelivered(self) -> list[Row]:
        """Return every file whose newest version is not in the bucket."""
        return self._typed(row_of, queries.UNDELIVERED)

    def troubled(self, count: int) -> list[Row]:
        """Return up to ``count`` files that have failed, are gone, or wait for another attempt."""
        return self._typed(row_of, queries.TROUBLED, (count,))

    def missing(self, count: int) -> list[Row]:
        """Return up to ``count`` files whose newest version is not in the bucket, those that have failed first."""
        return self._typed(row_of, queries.MISSING, (count,))

    def waiting_checkpoints(self, count: int) -> list[Row]:
        """Return up to ``count`` checkpoints that are in neither bucket nor spool, the longest waiting first."""
        return self._typed(row_of, queries.WAITING_CHECKPOINTS, (count,))

    def spooled_files(self) -> list[Row]:
        """Return the files that are not in the bucket and have a copy in the spool."""
        return self._typed(row_of, queries.SPOOLED_FILES)

    def knows(self, start: str) -> bool:
        """Return whether there is a file whose path begins with ``start``."""
        first = os.fsencode(start)
        return bool(self._rows(queries.BEGINS_WITH, {"start": first, "end": first + b"\xff"}))

    def delivered_beside(self, path: str) -> dict[str, str] | None:
        """Return path and SHA-256 of all else below the folder of ``path``; None unless it is delivered, and whole."""
        folder = os.fsencode(path.rpartition("/")[0])
        # The byte after the slash ends what is below the folder.
        rows = self._rows(queries.BESIDE, {"start": folder + b"/", "end": folder + b"0", "path": os.fsencode(path)})
        if any(row["state"] != State.DELIVERED or row["key"].startswith(f"{INCOMPLETE}/") for row in rows):
            return None
        return {os.fsdecode(row["path"]): row["sha256"] for row in rows}

    def checkpoints(self) -> list[Row]:
        """Return every checkpoint that belongs to a step."""
        return self._typed(row_of, queries.CHECKPOINTS)

    def sources(self) -> frozenset[str]:
        """Return the names of all copies in the spool that are wanted."""
        return frozenset(row["source"] for row in self._rows(queries.SOURCES))

    def doubtful(self) -> list[StoredFile]:
        """Return every object that another version may have replaced, without proof of it."""
        return self._typed(stored_file_of, queries.DOUBTFUL)

    def restorable(self) -> list[StoredFile]:
        """Return every object that a handler may have put aside because it found it damaged."""
        return self._typed(stored_file_of, queries.RESTORABLE)

    def stored(self) -> Iterator[StoredFile]:
        """Yield everything of this run that is in the bucket, by key, a page at a time."""
        last = ""
        while page := self._typed(stored_file_of, queries.ALL_STORED, (last, _PAGE)):
            yield from page
            last = page[-1].key

    def stored_total(self) -> Total:
        """Return how many files of this run are in the bucket, and their bytes."""
        files, size = self._count(queries.STORED_TOTAL)[0]
        return Total(files, size)

    def newest_stored(self, kind: Kind, count: int) -> list[StoredFile]:
        """Return the newest files of ``kind`` that are in the bucket, newest first."""
        return self._made(stored_file_of, self._count(queries.NEWEST_STORED, kind, count))

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
        """Record a version that is complete, so that it will be sent; and what says that its folder is whole, after it.

        What was written before that is a part of what it says is whole. What is newer waits for another such word.
        """
        values = {
            **_identity(file.path, file.version),
            "folder": os.fsencode(file.path.rpartition("/")[0]),
            "kind": file.kind,
            "key": file.key,
            "proof": file.proof,
            "step": file.step,
            "source": file.source,
            "now": now,
        }
        with self.transaction():
            self._write(queries.SETTLED, values)
            if file.kind is Kind.CHECKPOINT:
                for last in folders.completing(file.path):
                    self._write(queries.SEAL_ANEW, (os.fsencode(last), file.version.mtime_ns))

    def refused(self, path: str, kind: Kind, key: str, version: Version, reason: str, now: float) -> None:
        """Record a file that cannot be carried at all, so that it is listed as missing."""
        values = {"folder": os.fsencode(path.rpartition("/")[0]), "kind": kind, "key": key, "error": reason, "now": now}
        self._write(queries.REFUSED, {**_identity(path, version), **values})

    def start(self, row: Row) -> bool:
        """Mark a file as being sent. Returns False when it is no longer to be sent."""
        check(row.state, State.SENDING)
        return self._write(queries.START, (os.fsencode(row.path),)) == 1

    def hashed(self, row: Row, sha256: str | None) -> None:
        """Remember the digest of the version in ``row``; None: it is to be taken anew."""
        self._write(queries.HASHED, (sha256, *_key_of(row)))

    def upload_url(self, row: Row, url: str | None) -> None:
        """Remember where the version in ``row`` is being uploaded to, before the first byte goes there."""
        self._write(queries.UPLOAD_URL, (url, *_key_of(row)))

    def delivered(self, row: Row, stored: Stored) -> None:
        """Record what the server's own record says of the object, and that the version is delivered if it is that."""
        with self.transaction():
            values = {"key": row.key, "path": os.fsencode(row.path), "kind": row.kind, **columns_of(stored)}
            self._write(queries.STORED, values)
            self._write(queries.DELIVERED, {**_identity(row.path, row.version), "sha256": stored.sha256})

    def inherit(self, file: StoredFile) -> None:
        """Record an object that this training left, unless this run has sent another version of it since.

        ``path`` is as people are shown it. Another file that was to go there makes way.
        """
        values = {"key": file.key, "path": os.fsencode(file.path), "kind": file.kind, **columns_of(file.stored)}
        with self.transaction():
            owner = self.key_owner(file.key)
            if owner is not None and printable(owner) != file.path:
                self._write(queries.MAKE_WAY, (keys.disambiguate(file.key, owner), os.fsencode(owner)))
            self._write(queries.INHERITED, values)

    def doubt(self, key: str) -> None:
        """Remember that another version may reach ``key`` from now on, whatever becomes of its sending."""
        self._write(queries.DOUBT, (key,))

    def doubt_everything(self) -> None:
        """Remember that somebody else may have written to any key."""
        self._write(queries.DOUBT_EVERYTHING)

    def decide(self, file: StoredFile, *, there: bool) -> None:
        """End a doubt: the version on record is in the bucket after all, or nobody knows what is at its key.

        What is not there is sent again, or is missing from now on where it lay in the bucket alone.
        """
        with self.transaction():
            if there:
                self._write(queries.TRUST, (file.key,))
                return
            folder = os.fsencode(file.path.rpartition("/")[0])
            self._write(queries.OVERWRITTEN, {"key": file.key, "folder": folder, "error": _OVERWRITTEN})
            self._write(queries.FORGET, (file.key,))
            self._write(queries.SEND_AGAIN, (file.key,))

    def put_aside(self, file: StoredFile) -> None:
        """Take note that an object is where it was no longer, unless another version has been sent there since."""
        version = {"key": file.key, "version": file.stored.version, "sha256": file.stored.sha256}
        with self.transaction():
            if self._rows(queries.STILL_RESTORABLE, version):
                self.decide(file, there=False)

    def stamp(self, path: str, step: int, saved_at: float) -> None:
        """Add the step of a saving at ``saved_at`` (Unix seconds) to a version that waits without one."""
        self._write(queries.STAMP, (step, os.fsencode(path), int(saved_at * 1e9)))

    def spooled(self, row: Row, name: str | None) -> bool:
        """Remember that the version in ``row`` lies in the spool as ``name``, or no longer does.

        Returns False when nobody waits for that version any more.
        """
        return self._write(queries.SPOOLED, (name, *_key_of(row))) == 1

    def never_seen(self, path: str, kind: Kind, key: str, saved_at: float, reason: str, now: float) -> None:
        """Record a file that was saved at ``saved_at`` (Unix seconds) and vanished unseen, so that it is missing."""
        version = Version(0, int(saved_at * 1e9), 0)
        values = {"folder": os.fsencode(path.rpartition("/")[0]), "kind": kind, "key": key, "error": reason, "now": now}
        self._write(queries.NEVER_SEEN, {**_identity(path, version), **values})

    def cleared(self, path: str) -> bool:
        """Take back that ``path`` cannot be carried; return whether that was said of it."""
        return self._write(queries.CLEARED, (os.fsencode(path),)) > 0

    def retry_later(self, row: Row, attempts: int, next_try: float, error: str) -> None:
        """Put a file back in the queue until ``next_try`` (monotonic seconds: no other process heeds it)."""
        values = {"path": os.fsencode(row.path), "attempts": attempts, "next_try": next_try, "error": error}
        self._write(queries.RETRY_LATER, values)

    def end(self, row: Row, old: State, new: State, reason: str) -> None:
        """Move a file from ``old`` to FAILED or GONE, with the reason that will be shown."""
        check(old, new)
        self.gone += new is State.GONE
        self._write(queries.END, {"path": os.fsencode(row.path), "state": new, "old": old, "error": reason})

    def revive(self) -> int:
        """Give every failed file another chance; returns how many there were."""
        return self._write(queries.REVIVE)

    def hurry(self) -> None:
        """Let everything that waits be sent now."""
        self._write(queries.HURRY)

    def add_objects(self, objects: Iterable[tuple[str, int, str | None]]) -> None:
        """Remember what lies under the prefix already: key, size, eTag."""
        with self.transaction(), self._told_apart():
            self._connection.executemany(queries.ADD_OBJECT, objects)

    def set_fact(self, name: str, value: str) -> None:
        """Remember a value."""
        self._write(queries.SET_FACT, (name, value))


def _named(row: sqlite3.Row) -> tuple[str, Known]:
    return os.fsdecode(row["path"]), known_of(row)


def _total(row: sqlite3.Row) -> tuple[State, Total]:
    state, files, size = row
    return State(state), Total(files, size)


def _identity(path: str, version: Version) -> dict[str, Any]:
    return {
        "path": os.fsencode(path),
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "inode": inode_in_ledger(version.inode),
    }


def _key_of(row: Row) -> tuple[bytes, int, int, int]:
    return os.fsencode(row.path), row.version.size, row.version.mtime_ns, inode_in_ledger(row.version.inode)
