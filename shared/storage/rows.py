"""From what the server tells of an object to a record of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.storage.metadata import read_metadata
from shared.storage.records import BucketRecord, ObjectRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage3.types import BaseBucket, SearchV2Object


def record_of_bucket(found: BaseBucket) -> BucketRecord:
    """Return the record of a bucket."""
    types = None if found.allowed_mime_types is None else tuple(found.allowed_mime_types)
    return BucketRecord(found.name, found.public, found.file_size_limit, types)


def record_of_row(row: SearchV2Object) -> ObjectRecord:
    """Return the record in a row of a listing."""
    metadata = row.metadata or {}
    return ObjectRecord(
        key=row.name,
        size=int(metadata.get("size") or 0),
        etag=_unquoted(metadata.get("eTag")),
        content_type=metadata.get("mimetype"),
        modified=metadata.get("lastModified"),
    )


def record_of_info(raw: Mapping[str, Any]) -> ObjectRecord:
    """Return the record in an answer to ``info``. Raises KeyError, TypeError or ValueError where it is none."""
    return ObjectRecord(
        key=str(raw["name"]),
        size=int(raw["size"]),
        etag=_unquoted(raw.get("etag")),
        version=raw.get("version"),
        content_type=raw.get("content_type"),
        metadata=read_metadata(raw.get("metadata")),
        modified=raw.get("last_modified"),
    )


def _unquoted(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None
