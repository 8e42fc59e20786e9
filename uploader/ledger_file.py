"""The file that a ledger lies in: opened, checked, asked and written. The only module that touches SQLite.

What it says is believed, down to the manifest. So its pages, its indexes and the seal of every row are checked when it
is opened, and whatever shows later that it is damaged is told apart from the disk's own trouble.

One connection, guarded by a lock, since the lanes record the resumable upload's address themselves before they send a
byte to it. Everything else is written by the daemon's own thread.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from uploader import queries
from uploader.rows import seal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")

# The disk's or another process's trouble: it may pass, and says nothing against the file.
_PASSING = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
})  # fmt: skip


class LedgerError(sqlite3.DatabaseError):
    """The ledger is damaged, or of a version that this code does not know: it is of no use any more."""


class LedgerFile:
    """A ledger that is open. Methods raise LedgerError when it is damaged, another sqlite3.Error as the disk does."""

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``, making it where there is none.

        Raises LedgerError when what lies there is no whole ledger of this version.
        """
        self.path = path
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._counted: dict[tuple[str, tuple[object, ...]], list[sqlite3.Row]] = {}
        self._counted_at = -1
        self._connection.create_function("seal_of", -1, seal_of, deterministic=True)
        try:
            with self._told_apart():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        for pragma in queries.PRAGMAS:
            self._connection.execute(pragma)
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.transaction():
                self._create()
        elif version != queries.SCHEMA_VERSION:
            raise LedgerError(f"{self.path} has version {version}, this is version {queries.SCHEMA_VERSION}")
        self._check()
        self._connection.execute(queries.RECOVER)

    def _create(self) -> None:
        for statement in _statements():
            self._connection.execute(statement)
        self._connection.execute(f"PRAGMA user_version = {queries.SCHEMA_VERSION}")

    def _check(self) -> None:
        if {row[0] for row in self._connection.execute(queries.MADE_OF)} != set(_statements()):
            raise LedgerError(f"{self.path} is damaged: its tables are not those of version {queries.SCHEMA_VERSION}")
        fault = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if fault != "ok":
            raise LedgerError(f"{self.path} is damaged: {fault}")

    @contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Raise LedgerError for what speaks against the ledger; trouble that may pass goes through as it is."""
        try:
            yield
        except LedgerError:
            raise
        except sqlite3.Error as error:
            if _may_pass(error):
                raise
            raise LedgerError(f"{self.path} is damaged: {error}") from error
        except UnicodeDecodeError as error:
            # SQLite names in its message what it has read.
            raise LedgerError(f"{self.path} is damaged: its names are no text") from error

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
            with self._told_apart():
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                with self._told_apart():
                    self._connection.execute("COMMIT")
            except BaseException:
                self._counted.clear()
                # A full disk has ended the transaction already; what went wrong first is what is told.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        with self._lock, self._told_apart():
            return self._connection.execute(query, parameters).fetchall()

    def _count(self, query: str, *parameters: object) -> list[sqlite3.Row]:
        """Return what ``query`` finds. It reads every row, so it is only asked again when something was written."""
        with self._lock:
            changes = self._connection.total_changes
            if changes != self._counted_at:
                self._counted, self._counted_at = {}, changes
            asked = (query, parameters)
            if asked not in self._counted:
                self._counted[asked] = self._rows(query, parameters)
            return self._counted[asked]

    def _typed(
        self, make: Callable[[sqlite3.Row], T], query: str, parameters: Sequence[Any] | dict[str, Any] = ()
    ) -> list[T]:
        """Return the rows as ``make`` reads them; what it refuses can only be damage."""
        return self._made(make, self._rows(query, parameters))

    def _made(self, make: Callable[[sqlite3.Row], T], rows: list[sqlite3.Row]) -> list[T]:
        try:
            return [make(row) for row in rows]
        except ValueError as error:
            raise LedgerError(f"{self.path} is damaged: {error}") from error

    def _write(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> int:
        with self._lock, self._told_apart():
            return self._connection.execute(query, parameters).rowcount


def _may_pass(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Python's own: a ledger that has been closed meanwhile is no damage, a text that is no Unicode is.
        return not isinstance(error, sqlite3.OperationalError)
    return code & 0xFF in _PASSING


def _statements() -> list[str]:
    return [statement.strip() for statement in queries.SCHEMA.split(";\n") if statement.strip()]
