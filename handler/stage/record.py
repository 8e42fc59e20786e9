"""What has been staged, kept beside the dataset, so that a repeated staging downloads only what is missing or changed.

One line of JSON for each object, appended when its files are in place. Lost last lines cost a download, no more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from shared.storage.records import ObjectRecord


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file on the disk: path relative to the dataset, size in bytes, time of its last change in nanoseconds."""

    path: str
    size: int
    mtime: int

    @classmethod
    def of(cls, dataset: Path, path: str) -> StagedFile:
        """Return the file as it is now. Raises OSError where there is none."""
        status = (dataset / path).lstat()
        return cls(path, status.st_size, status.st_mtime_ns)

    def is_there(self, dataset: Path) -> bool:
        """Return whether the file is unchanged."""
        try:
            return self == StagedFile.of(dataset, self.path)
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class StagedObject:
    """An object, and the files that it became: one, or an archive's members."""

    key: str
    size: int
    etag: str | None
    files: tuple[StagedFile, ...]

    def holds(self, record: ObjectRecord, dataset: Path) -> bool:
        """Return whether ``record`` is still this object, and its files are all there."""
        same = (self.size, self.etag) == (record.size, record.etag)
        return same and all(file.is_there(dataset) for file in self.files)

    def line(self) -> str:
        """Return the object as a line of the record."""
        files = [[file.path, file.size, file.mtime] for file in self.files]
        return json.dumps({"key": self.key, "size": self.size, "etag": self.etag, "files": files}) + "\n"


def record_file(dataset: Path) -> Path:
    """Return where the record of ``dataset`` lies: outside, since everything inside is trained on."""
    return dataset.with_name(f".{dataset.name}.jsonl")


def read_record(dataset: Path) -> dict[str, StagedObject]:
    """Return what was staged, by key; a line that a crash cut short is left out."""
    try:
        lines = record_file(dataset).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    found = (_parsed(line) for line in lines)
    return {staged.key: staged for staged in found if staged}


def write_record(dataset: Path, objects: Iterable[StagedObject]) -> None:
    """Replace the record by ``objects``."""
    write_atomic(record_file(dataset), "".join(staged.line() for staged in objects).encode())


def _parsed(line: str) -> StagedObject | None:
    try:
        raw = json.loads(line)
        files = tuple(StagedFile(str(path), int(size), int(mtime)) for path, size, mtime in raw["files"])
        return StagedObject(raw["key"], raw["size"], raw["etag"], files)
    except (ValueError, TypeError, KeyError):
        return None
