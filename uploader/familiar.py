"""Which versions of which files the ledger knows already, so that it need not be asked about each at every look."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from uploader.scan import Version


class Familiar:
    """64 bits a file: of a hundred thousand the memory is some 8 MB, and two are taken for one about never (5e-15)."""

    def __init__(self) -> None:
        self._marks: set[int] = set()

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, path: str, version: Version) -> None:
        """Take ``version`` of ``path`` for known."""
        self._marks.add(hash((path, version.size, version.mtime_ns, version.inode)))

    def drop(self, path: str, version: Version) -> None:
        """Take ``version`` of ``path`` for unknown: another one has taken its place in the ledger."""
        self._marks.discard(hash((path, version.size, version.mtime_ns, version.inode)))

    def clear(self) -> None:
        """Take everything for unknown."""
        self._marks.clear()

    def knows(self, path: str, status: os.stat_result) -> bool:
        """Return whether the file at ``path`` is as the ledger knows it."""
        return hash((path, status.st_size, status.st_mtime_ns, status.st_ino)) in self._marks
