"""What Storage knows of buckets and objects, as typed values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MD5 = re.compile(r"[0-9a-f]{32}")


def md5_of(etag: str | None) -> str | None:
    """Return the content's MD5 in hex where ``etag`` is one; None for a multipart upload's ``…-N`` and the like."""
    text = (etag or "").lower()
    return text if _MD5.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class BucketRecord:
    """A bucket. ``file_size_limit`` is bytes; None, for either limit, means that the project's own applies."""

    name: str
    public: bool
    file_size_limit: int | None
    allowed_mime_types: tuple[str, ...] | None

    def allows(self, content_type: str) -> bool:
        """Return whether the bucket takes objects of that type."""
        allowed = self.allowed_mime_types
        return not allowed or any(fnmatchcase(content_type, pattern.strip()) for pattern in allowed)


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object: whole key, size in bytes, etag without quotes, ISO time of the last change.

    ``version`` changes with every overwrite. ``metadata`` is the user's own; a listing has neither of the two.
    """

    key: str
    size: int
    etag: str | None = None
    version: str | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    modified: str | None = None

    @property
    def md5(self) -> str | None:
        """Return the content's MD5 in hex, or None where the server's record holds none."""
        return md5_of(self.etag)


@dataclass(frozen=True, slots=True)
class FolderListing:
    """One level below a prefix: the names of folders, and the objects with their whole keys."""

    folders: tuple[str, ...]
    files: tuple[ObjectRecord, ...]


@dataclass(frozen=True, slots=True)
class Upload:
    """A resumable upload: its address, until when the server keeps it (an HTTP date, where it says so), its offset."""

    url: str
    expires: str | None
    offset: int
