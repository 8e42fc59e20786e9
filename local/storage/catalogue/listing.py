"""The walk behind the listings that know folders: from one entry to the next, past whole folders at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from local.storage.catalogue.objects import stored_object

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from local.storage.catalogue.records import StoredObject

Column = Literal["key", "folded"]

_BEHIND_SLASH = chr(ord("/") + 1)
BEHIND_ALL = "\x7f"
"""Behind every character that a key may have."""
_STATEMENTS: dict[tuple[Column, bool], str] = {
    ("key", False): "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
    ("key", True): "SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key DESC",
    ("folded", False): "SELECT * FROM objects WHERE bucket = ? AND folded >= ? AND folded < ? ORDER BY folded, key",
    ("folded", True): """
        SELECT * FROM objects WHERE bucket = ? AND folded >= ? AND folded < ? ORDER BY folded DESC, key DESC
    """,
}


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder: its path in the bucket, without a slash at its end."""

    path: str


@dataclass(frozen=True, slots=True)
class Walk:
    """A way through one folder of a bucket.

    ``column`` says whether upper and lower case are one (``folded``) or not. ``prefix`` may go on behind the folder's
    slash with the beginning of a name. ``after`` is the last entry's path of the page before this.
    """

    bucket: str
    prefix: str
    column: Column
    descending: bool = False
    after: str = ""


def entries(connection: sqlite3.Connection, walk: Walk) -> Iterator[StoredObject | Folder]:
    """Yield what is in the folder, in the order of the column's bytes; folders stand where their first object does."""
    prefix = walk.prefix if walk.column == "key" else walk.prefix.lower()
    low, high = _bounds(connection, walk, prefix)
    while True:
        folder = None
        rows = connection.execute(_STATEMENTS[walk.column, walk.descending], (walk.bucket, low, high))
        for number, row in enumerate(rows):
            folder = _folder_of(row[walk.column], len(prefix))
            if folder is None:
                yield stored_object(row)
                continue
            if walk.descending and number:
                # The real server's search does the same, and so passes over a folder of one object behind a file.
                high = row[walk.column]
                break
            yield Folder(row["key"][: len(folder)].rstrip("/"))
            low, high = (low, folder) if walk.descending else (folder[:-1] + _BEHIND_SLASH, high)
            break
        if folder is None:
            return


def _folder_of(path: str, start: int) -> str | None:
    slash = path.find("/", start)
    return None if slash < 0 else path[: slash + 1]


def _bounds(connection: sqlite3.Connection, walk: Walk, prefix: str) -> tuple[str, str]:
    """Return the first path to look at and the one behind the last."""
    low, high = prefix, prefix + BEHIND_ALL
    if not walk.after:
        return low, high
    inside = (walk.bucket, f"{walk.after}/", f"{walk.after}/{BEHIND_ALL}")
    is_folder = connection.execute(_STATEMENTS["key", False] + " LIMIT 1", inside).fetchone() is not None
    if walk.descending:
        return low, f"{walk.after}/" if is_folder else walk.after
    return walk.after + (_BEHIND_SLASH if is_folder else "/"), high
