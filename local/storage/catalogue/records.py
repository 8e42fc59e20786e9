"""The rows of the catalogue as typed objects. Times are microseconds since 1970, sizes bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from local.storage import times


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. ``file_size_limit`` and ``allowed_mime_types`` are None where nothing is limited."""

    id: str
    name: str
    public: bool
    file_size_limit: int | None
    allowed_mime_types: list[str] | None
    created: int
    updated: int

    def shown(self) -> dict[str, object]:
        """Return the fields as the API shows them."""
        return {
            "id": self.id,
            "name": self.name,
            "owner": "",
            "public": self.public,
            "file_size_limit": self.file_size_limit,
            "allowed_mime_types": self.allowed_mime_types,
            "created_at": times.iso(self.created),
            "updated_at": times.iso(self.updated),
        }


@dataclass(frozen=True, slots=True)
class Content:
    """One version of an object: its bytes, and what was said about them. ``etag`` stands without quotes."""

    version: str
    size: int
    etag: str
    content_type: str
    cache_control: str
    written: int
    user_metadata: str | None

    def metadata(self) -> dict[str, object]:
        """Return the ``metadata`` field of a listing's row."""
        return {
            "eTag": f'"{self.etag}"',
            "size": self.size,
            "mimetype": self.content_type,
            "cacheControl": self.cache_control,
            "lastModified": times.iso(self.written),
            "contentLength": self.size,
            "httpStatusCode": 200,
        }

    def users(self) -> object:
        """Return the user's own metadata, parsed."""
        return None if self.user_metadata is None else json.loads(self.user_metadata)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: the place, which stays, and the content, which changes."""

    id: str
    bucket: str
    key: str
    created: int
    updated: int
    content: Content

    def info(self) -> dict[str, object]:
        """Return what the info route shows."""
        return {
            "id": self.id,
            "name": self.key,
            "version": self.content.version,
            "bucket_id": self.bucket,
            "size": self.content.size,
            "content_type": self.content.content_type,
            "cache_control": self.content.cache_control,
            "etag": f'"{self.content.etag}"',
            "metadata": self.content.users(),
            "last_modified": times.iso(self.updated),
            "created_at": times.iso(self.created),
        }

    def row(self) -> dict[str, object]:
        """Return what copying and deleting show: the database's row."""
        return {
            "name": self.key,
            "bucket_id": self.bucket,
            "owner": "",
            "owner_id": "",
            "version": self.content.version,
            "id": self.id,
            "updated_at": times.iso(self.updated),
            "created_at": times.iso(self.created),
            "last_accessed_at": times.iso(self.created),
            "metadata": self.content.metadata(),
            "user_metadata": self.content.users(),
        }

    def listed(self, name: str) -> dict[str, object]:
        """Return a row of a listing, in which the object is called ``name``."""
        return {
            "name": name,
            "id": self.id,
            "updated_at": times.iso(self.updated),
            "created_at": times.iso(self.created),
            "last_accessed_at": times.iso(self.created),
            "metadata": self.content.metadata(),
        }


@dataclass(frozen=True, slots=True)
class Upload:
    """A resumable upload. ``length`` is None until the client says it; ``metadata`` is the header to show."""

    version: str
    bucket: str
    key: str
    length: int | None
    metadata: str
    created: int
