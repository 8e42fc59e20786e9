"""What staging needs of Storage; the Storage client is one such source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shared.storage.reader import Opens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.storage.records import FolderListing, ObjectRecord


class Source(Opens, Protocol):
    """Lists and opens objects. Every method raises StorageError and retries nothing."""

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        """Yield every object below the folder ``prefix``; the empty one is the bucket's root."""
        ...

    def read(self, bucket: str, key: str, limit: int) -> bytes | None:
        """Return the content of an object of at most ``limit`` bytes, or None where there is none."""
        ...

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        """Return what is directly in the folder ``prefix``."""
        ...
