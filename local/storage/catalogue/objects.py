"""The table of objects. Publishing a version is one statement, so a reader sees the old one or the new one."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from local.storage import refusals, times
from local.storage.catalogue.records import Content, StoredObject

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_PUT = """
INSERT INTO objects (bucket, key, folded, id, created, updated,
                     version, size, etag, content_type, cache_control, written, user_metadata)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bucket, key) DO UPDATE SET
    updated = excluded.updated, version = excluded.version, size = excluded.size, etag = excluded.etag,
    content_type = excluded.content_type, cache_control = excluded.cache_control, written = excluded.written,
    user_metadata = coalesce(excluded.user_metadata, objects.user_metadata)
"""
_MOVE = """
UPDATE objects SET bucket = ?, key = ?, folded = ?, updated = ?, version = ?, written = ? WHERE bucket = ? AND key = ?
"""


class Objects:
    """Publishes, finds, moves and removes objects. Nothing here touches their bytes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, bucket: str, key: str) -> StoredObject | None:
        """Return the object of that key."""
        row = self._connection.execute("SELECT * FROM objects WHERE bucket = ? AND key = ?", (bucket, key)).fetchone()
        return None if row is None else stored_object(row)

    def get(self, bucket: str, key: str) -> StoredObject:
        """Return the object of that key. Raises a refusal if there is none."""
        found = self.find(bucket, key)
        if found is None:
            raise refusals.no_such_object()
        return found

    def put(self, bucket: str, key: str, content: Content) -> StoredObject:
        """Publish ``content`` under that key, whether or not there is an object, and return the object.

        It does not ask whether overwriting was meant: the real server asks before it takes the bytes, and never again.
        Content without user metadata leaves those of the object that it replaces, as a resumable upload does there.
        """
        moment = times.now()
        place = (bucket, key, key.lower(), str(uuid.uuid4()), moment, moment)
        self._connection.execute(_PUT, (*place, *_columns(content)))
        return self.get(bucket, key)

    def move(self, source: StoredObject, bucket: str, key: str, version: str) -> None:
        """Give an object another place and version. Exactly one of several movers to one place succeeds."""
        if self.find(bucket, key) is not None:
            raise refusals.exists("ResourceAlreadyExists")
        moment = times.now()
        place = (bucket, key, key.lower(), moment, version, moment)
        self._connection.execute(_MOVE, (*place, source.bucket, source.key))

    def remove(self, bucket: str, keys: Iterable[str]) -> list[StoredObject]:
        """Remove the objects of those keys and return those that there were."""
        gone = [found for key in dict.fromkeys(keys) if (found := self.find(bucket, key)) is not None]
        with self._connection:
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "DELETE FROM objects WHERE bucket = ? AND key = ?", [(found.bucket, found.key) for found in gone]
            )
        return gone

    def clear(self, bucket: str) -> list[str]:
        """Remove every object of a bucket and return their versions."""
        rows = self._connection.execute("DELETE FROM objects WHERE bucket = ? RETURNING version", (bucket,))
        return [row["version"] for row in rows.fetchall()]

    def versions(self) -> set[str]:
        """Return the version of every object in every bucket."""
        return {row["version"] for row in self._connection.execute("SELECT version FROM objects")}


def stored_object(row: sqlite3.Row) -> StoredObject:
    """Return the object of a row of the table."""
    content = Content(
        row["version"],
        row["size"],
        row["etag"],
        row["content_type"],
        row["cache_control"],
        row["written"],
        row["user_metadata"],
    )
    return StoredObject(row["id"], row["bucket"], row["key"], row["created"], row["updated"], content)


def _columns(content: Content) -> tuple[str, int, str, str, str, int, str | None]:
    return (
        content.version,
        content.size,
        content.etag,
        content.content_type,
        content.cache_control,
        content.written,
        content.user_metadata,
    )
