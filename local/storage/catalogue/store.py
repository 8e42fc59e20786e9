"""The catalogue and the bytes together. A server killed in mid-change leaves the old state or the new one."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from local.storage import refusals, times
from local.storage.catalogue.blobs import Blobs
from local.storage.catalogue.buckets import Buckets
from local.storage.catalogue.database import connect
from local.storage.catalogue.objects import Objects
from local.storage.catalogue.uploads import Uploads

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from local.storage.catalogue.records import Content, StoredObject
    from local.storage.options import Options

_STANDARD_PART = 16 << 20
_RESUMABLE_PART = 6 << 20


class Store:
    """Everything under the server's folder. Only the server's own thread may use it."""

    def __init__(self, root: Path, options: Options) -> None:
        self._options = options
        self._connection = connect(root / "catalogue.sqlite3")
        self.buckets = Buckets(self._connection)
        self.objects = Objects(self._connection)
        self.uploads = Uploads(self._connection)
        self.blobs = Blobs(root / "versions")
        self._tidy()

    @property
    def connection(self) -> sqlite3.Connection:
        """The database, for reading."""
        return self._connection

    def publish(self, bucket: str, key: str, content: Content) -> StoredObject:
        """Make ``content``, whose bytes are written, the object of that key, and drop the version it replaces.

        Raises a refusal if the bucket is missing.
        """
        if self.buckets.find(bucket) is None:
            raise refusals.no_such_relation()
        before = self.objects.find(bucket, key)
        published = self.objects.put(bucket, key, content)
        if before is not None and before.content.version != content.version:
            self.blobs.remove(before.content.version)
        return published

    def copy(self, source: StoredObject, bucket: str, key: str, content: Content) -> StoredObject:
        """Publish the bytes of ``source`` once more, as ``content``, which has a version of its own."""
        self.blobs.link(source.content.version, content.version)
        return self.publish(bucket, key, content)

    def move(self, source: StoredObject, bucket: str, key: str) -> None:
        """Give an object another place, and with it a new version. Raises a refusal if the place is taken."""
        version = str(uuid.uuid4())
        self.blobs.link(source.content.version, version)
        try:
            self.objects.move(source, bucket, key, version)
        except BaseException:
            self.blobs.remove(version)
            raise
        self.blobs.remove(source.content.version)

    def remove(self, bucket: str, keys: list[str]) -> list[StoredObject]:
        """Remove objects and return those that there were."""
        gone = self.objects.remove(bucket, keys)
        for found in gone:
            self.blobs.remove(found.content.version)
        return gone

    def empty(self, bucket: str) -> None:
        """Remove all objects of a bucket."""
        for version in self.objects.clear(bucket):
            self.blobs.remove(version)

    def etag(self, md5: str, size: int, *, resumable: bool) -> str:
        """Return the eTag of bytes with that MD5.

        The hosted service stores large files in parts and gives them an eTag ``…-N`` that is not their MD5; resumable
        uploads have it always. With that option this server does the same, though the digits before the dash differ.
        """
        parts = max(1, math.ceil(size / (_RESUMABLE_PART if resumable else _STANDARD_PART)))
        if not self._options.multipart_etags or (parts == 1 and not resumable):
            return md5
        return f"{md5[::-1]}-{parts}"

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _tidy(self) -> None:
        if self._options.upload_expiry:
            self.uploads.forget_before(times.now() - int(self._options.upload_expiry * 1_000_000))
        self.blobs.sweep(self.objects.versions() | self.uploads.versions())


def renewed(content: Content) -> Content:
    """Return the same content as a version of its own, written now."""
    return replace(content, version=str(uuid.uuid4()), written=times.now())
