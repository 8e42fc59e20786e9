"""The listings that know no folders, or are ordered by time."""

from __future__ import annotations

from dataclasses import dataclass
from operator import gt, lt
from typing import TYPE_CHECKING, Literal

from local.storage.catalogue.listing import BEHIND_ALL, Folder
from local.storage.catalogue.objects import stored_object

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from local.storage.catalogue.records import StoredObject

TimeColumn = Literal["created_at", "updated_at"]
TimedEntry = tuple[int, "StoredObject | Folder"]

_ALL = "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key"
_PAGE = "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?"
_PAGE_BACKWARDS = """
SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? AND key < ? ORDER BY key DESC LIMIT ?
"""
_MILLISECOND = 1000


def by_key(
    connection: sqlite3.Connection, bucket: str, prefix: str, rows: int, *, descending: bool, after: str
) -> list[StoredObject]:
    """Return the objects under ``prefix`` that come after the key ``after``, at most ``rows`` of them."""
    if descending:
        bounds = (bucket, prefix, prefix + BEHIND_ALL, after or BEHIND_ALL, rows)
        return [stored_object(row) for row in connection.execute(_PAGE_BACKWARDS, bounds)]
    return [stored_object(row) for row in connection.execute(_PAGE, (bucket, prefix, prefix + BEHIND_ALL, after, rows))]


@dataclass(frozen=True, slots=True)
class ByTime:
    """Objects under a prefix ordered by a time and then by path, with or without folders.

    As on the real server pages are told apart by the millisecond, and with folders the order is, too: without them a
    page that ends between two changes of one millisecond is followed by one that leaves out or repeats.
    """

    bucket: str
    prefix: str
    column: TimeColumn
    descending: bool
    folders: bool

    def entries(self, connection: sqlite3.Connection, after: tuple[int, str] | None) -> list[TimedEntry]:
        """Return what comes after that time, in microseconds, and path: all of it, each with its own time."""
        order = _by_millisecond if self.folders else _by_microsecond
        found = sorted(self._all(connection), key=order, reverse=self.descending)
        if after is None:
            return found
        end = (after[0] // _MILLISECOND, after[1])
        behind = lt if self.descending else gt
        return [entry for entry in found if behind(_by_millisecond(entry), end)]

    def _all(self, connection: sqlite3.Connection) -> Iterator[TimedEntry]:
        """Yield every entry once. A folder's time is that of the making of its first object, whatever the column."""
        folders: dict[str, int] = {}
        for row in connection.execute(_ALL, (self.bucket, self.prefix, self.prefix + BEHIND_ALL)):
            entry = stored_object(row)
            slash = entry.key.find("/", len(self.prefix)) if self.folders else -1
            if slash < 0:
                yield (entry.updated if self.column == "updated_at" else entry.created), entry
            else:
                path = entry.key[:slash].rstrip("/")
                folders[path] = min(entry.created, folders.get(path, entry.created))
        yield from ((created, Folder(path)) for path, created in folders.items())


def _by_microsecond(timed: TimedEntry) -> tuple[int, str]:
    time, entry = timed
    return time, entry.path if isinstance(entry, Folder) else entry.key


def _by_millisecond(timed: TimedEntry) -> tuple[int, str]:
    time, path = _by_microsecond(timed)
    return time // _MILLISECOND, path
