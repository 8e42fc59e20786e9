"""The table of resumable uploads. How far one has come is the length of its file, and stands nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.storage.catalogue.records import Upload

if TYPE_CHECKING:
    import sqlite3


class Uploads:
    """Makes, finds and drops uploads; a finished one stays known until it expires."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, upload: Upload) -> None:
        """Announce an upload."""
        self._connection.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
            (upload.version, upload.bucket, upload.key, upload.length, upload.metadata, upload.created),
        )

    def find(self, version: str) -> Upload | None:
        """Return the upload that will make, or has made, that version."""
        row = self._connection.execute("SELECT * FROM uploads WHERE version = ?", (version,)).fetchone()
        return None if row is None else Upload(*row)

    def set_length(self, version: str, length: int) -> None:
        """Say how long an upload will be whose length was left open."""
        self._connection.execute("UPDATE uploads SET length = ? WHERE version = ?", (length, version))

    def remove(self, version: str) -> None:
        """Forget an upload."""
        self._connection.execute("DELETE FROM uploads WHERE version = ?", (version,))

    def forget_before(self, moment: int) -> None:
        """Forget every upload announced before ``moment``, in microseconds since 1970."""
        self._connection.execute("DELETE FROM uploads WHERE created < ?", (moment,))

    def versions(self) -> set[str]:
        """Return the version of every upload."""
        return {row["version"] for row in self._connection.execute("SELECT version FROM uploads")}
