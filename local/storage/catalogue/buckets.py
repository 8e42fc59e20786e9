"""The table of buckets."""

from __future__ import annotations

import json
import sqlite3
from typing import Literal

from local.storage import refusals, times
from local.storage.catalogue.records import Bucket

SortColumn = Literal["id", "name", "created", "updated"]


class Buckets:
    """Makes, finds, changes and removes buckets."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, bucket: Bucket) -> None:
        """Make a bucket. Raises a refusal if there is one of that id or name."""
        if self._connection.execute("SELECT 1 FROM buckets WHERE name = ?", (bucket.name,)).fetchone():
            raise refusals.exists("BucketAlreadyExists")
        try:
            self._connection.execute("INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?)", _values(bucket))
        except sqlite3.IntegrityError:
            raise refusals.exists("BucketAlreadyExists") from None

    def find(self, identity: str) -> Bucket | None:
        """Return the bucket of that id."""
        row = self._connection.execute("SELECT * FROM buckets WHERE id = ?", (identity,)).fetchone()
        return None if row is None else _bucket(row)

    def get(self, identity: str) -> Bucket:
        """Return the bucket of that id. Raises a refusal if there is none."""
        bucket = self.find(identity)
        if bucket is None:
            raise refusals.no_such_bucket()
        return bucket

    def all(self) -> list[Bucket]:
        """Return every bucket, the oldest first."""
        return [_bucket(row) for row in self._connection.execute("SELECT * FROM buckets ORDER BY created, rowid")]

    def change(self, bucket: Bucket) -> None:
        """Write what may change of a bucket."""
        values = _values(bucket)
        self._connection.execute(
            "UPDATE buckets SET public = ?, file_size_limit = ?, allowed_mime_types = ?, updated = ? WHERE id = ?",
            (*values[2:5], times.now(), bucket.id),
        )

    def remove(self, identity: str) -> None:
        """Remove an empty bucket. Raises a refusal if it is missing or has objects."""
        self.get(identity)
        if self._connection.execute("SELECT 1 FROM objects WHERE bucket = ? LIMIT 1", (identity,)).fetchone():
            raise refusals.bucket_not_empty()
        self._connection.execute("DELETE FROM buckets WHERE id = ?", (identity,))


def _values(bucket: Bucket) -> tuple[str, str, bool, int | None, str | None, int, int]:
    types = None if bucket.allowed_mime_types is None else json.dumps(bucket.allowed_mime_types)
    return (bucket.id, bucket.name, bucket.public, bucket.file_size_limit, types, bucket.created, bucket.updated)


def _bucket(row: sqlite3.Row) -> Bucket:
    types = row["allowed_mime_types"]
    return Bucket(
        row["id"],
        row["name"],
        bool(row["public"]),
        row["file_size_limit"],
        None if types is None else json.loads(types),
        row["created"],
        row["updated"],
    )
