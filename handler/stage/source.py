"""What staging needs of Storage; the Storage client is one such source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from shared.storage.records import FolderListing, ObjectRecord


class Download(Protocol):
    """An object that is coming in. ``size`` is the whole object's, in bytes, or None where the server does not say."""

    size: int | None

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes. Raises StorageError where the connection breaks."""
        ...


class Source(Protocol):
    """Lists and opens objects. Every method raises StorageError and retries nothing."""

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        """Yield every object below the folder ``prefix``; the empty one is the bucket's root."""
        ...

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        """Return what is directly in the folder ``prefix``."""
        ...

    def open(self, bucket: str, key: str, *, start: int = 0) -> AbstractContextManager[Download]:
        """Hold an object open for reading from byte ``start`` on."""
        ...
