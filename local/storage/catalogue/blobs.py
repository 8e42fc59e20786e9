"""The bytes: one file for each version, written once from front to end and never changed after it is published."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_BLOCK = 256 << 10


class Blob:
    """A version that is being written. Its MD5 grows with it."""

    def __init__(self, path: Path, digest: hashlib._Hash) -> None:
        self._file = path.open("ab", buffering=0)
        self.digest = digest
        self.size = self._file.tell()

    def append(self, block: bytes) -> None:
        """Write ``block`` behind what is there. Nothing is held back, so a killed server has lost none of it."""
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]
        self.digest.update(block)
        self.size += len(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Blobs:
    """The folder of versions. It remembers the MD5 of what was written since the start, and reads the rest again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, tuple[int, hashlib._Hash]] = {}

    def path(self, version: str) -> Path:
        """Return where a version's bytes are."""
        return self._folder / version[:2] / version

    def create(self, version: str) -> None:
        """Make an empty version."""
        path = self.path(version)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)

    def open(self, version: str) -> Blob:
        """Open a version to write on at its end. Its MD5 must be remembered, or it must be empty."""
        _, digest = self._digests.get(version, (0, _md5()))
        return Blob(self.path(version), digest)

    def keep_digest(self, version: str, blob: Blob) -> None:
        """Remember how far the MD5 of an unfinished version has come."""
        self._digests[version] = (blob.size, blob.digest)

    def remembers(self, version: str) -> bool:
        """Return whether the MD5 of all that a version has is known."""
        size, _ = self._digests.get(version, (0, None))
        return self.size(version) == size

    def read_again(self, version: str) -> None:
        """Read a version to have its MD5. The only method that another thread may run."""
        path = self.path(version)
        size = path.stat().st_size
        self._digests[version] = (size, _md5_of(path, size))

    def finish(self, version: str) -> str:
        """Return the MD5 of a version whose last byte is there, and remember it no longer."""
        _, digest = self._digests.pop(version, (0, _md5()))
        return digest.hexdigest()

    def size(self, version: str) -> int | None:
        """Return how many bytes a version has; None if it is gone."""
        try:
            return self.path(version).stat().st_size
        except FileNotFoundError:
            return None

    def link(self, version: str, other: str) -> None:
        """Give a version's bytes to another version as well."""
        path = self.path(other)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(self.path(version), path)

    def remove(self, version: str) -> None:
        """Remove a version, if it is there."""
        self._digests.pop(version, None)
        self.path(version).unlink(missing_ok=True)

    def sweep(self, known: set[str]) -> None:
        """Remove the versions that nobody knows: what a killed server had not yet published, or not yet removed."""
        for path in self._folder.glob("??/*"):
            if path.name not in known:
                path.unlink()


def _md5() -> hashlib._Hash:
    # The protocol's eTag, no protection against anybody.
    return hashlib.md5(usedforsecurity=False)


def _md5_of(path: Path, size: int) -> hashlib._Hash:
    digest = _md5()
    with path.open("rb", buffering=0) as file:
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            digest.update(block)
            size -= len(block)
    return digest
