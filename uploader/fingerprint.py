"""Digests of what lies on the disk: SHA-256 is a file's identity, MD5 what the server's record may carry."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.behind import Digest

_BLOCK = 1 << 20


class Running:
    """SHA-256 and MD5 of the same bytes as they go by. Can be copied, to go back to an earlier point."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.length = 0

    def update(self, data: bytes, /) -> None:
        """Take in the next bytes."""
        self._sha256.update(data)
        self._md5.update(data)
        self.length += len(data)

    def copy(self) -> Running:
        """Return a digest of the same bytes that goes on by itself."""
        other = Running()
        other._sha256, other._md5, other.length = self._sha256.copy(), self._md5.copy(), self.length
        return other

    @property
    def sha256(self) -> str:
        """Return the hex SHA-256 so far."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """Return the hex MD5 so far."""
        return self._md5.hexdigest()


def read_into(digest: Digest, file: BinaryIO, start: int, end: int, alive: Callable[[], None]) -> None:
    """Feed the bytes from ``start`` to ``end`` of ``file`` to ``digest``; fewer when the file is shorter.

    ``alive`` is called for each block and may raise to stop.
    """
    while start < end:
        alive()
        block = os.pread(file.fileno(), min(_BLOCK, end - start), start)
        if not block:
            return
        digest.update(block)
        start += len(block)


class Whole:
    """All of a small file, in memory, and its digests."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.content = os.pread(file.fileno(), size, 0)
        digest = Running()
        digest.update(self.content)
        self.sha256, self.md5 = digest.sha256, digest.md5

    @property
    def unchanged(self) -> bool:
        """Return whether the file still reads the same: it may have been read while somebody was writing to it."""
        return os.pread(self._file.fileno(), len(self.content), 0) == self.content


def sha256_of(file: BinaryIO, size: int, alive: Callable[[], None]) -> str:
    """Return the hex SHA-256 of the first ``size`` bytes of ``file``."""
    digest = hashlib.sha256()
    read_into(digest, file, 0, size, alive)
    return digest.hexdigest()


def both_of(file: BinaryIO, size: int, alive: Callable[[], None]) -> Running:
    """Return both digests of the first ``size`` bytes of ``file``."""
    digest = Running()
    read_into(digest, file, 0, size, alive)
    return digest
