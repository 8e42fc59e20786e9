"""A bucket in memory whose connections break as a test says."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from handler.job import BucketFolder
from handler.stage import Staged, StagedTree, stage
from shared.storage.errors import StorageError, Trouble
from shared.storage.records import FolderListing, ObjectRecord
from shared.storage.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BUCKET = "datasets"
_BLOCK = 4


@dataclass
class FakeDownload:
    size: int | None
    content: Iterator[bytes]
    etag: str | None

    def blocks(self) -> Iterator[bytes]:
        return self.content


@dataclass
class FakeStorage:
    """``broken`` holds, by key, after how many bytes each next connection breaks; ``served`` replaces what is sent,
    and ``missed`` says how often the object is not found.

    ``at_once`` is what comes where a small object is asked for in one piece; by default none does.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, list[int]] = field(default_factory=dict)
    served: dict[str, list[bytes]] = field(default_factory=dict)
    errors: list[StorageError] = field(default_factory=list)
    with_md5: bool = True
    says_size: bool = True
    refused: dict[str, StorageError] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    opened: Counter[tuple[str, int]] = field(default_factory=Counter)
    on_block: Callable[[str], None] = lambda key: None
    at_once: Callable[[str], bytes | None] | None = None
    busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, key: str) -> ObjectRecord:
        content = self.objects[key]
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return ObjectRecord(key, len(content), digest if self.with_md5 else f"{digest}-2")

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        if self.errors:
            raise self.errors.pop(0)
        start = f"{prefix}/" if prefix else ""
        found = [self.record(key) for key in sorted(self.objects) if key.startswith(start)]
        if not found and bucket != BUCKET:
            raise StorageError(Trouble.BUCKET_NOT_FOUND, f"Looking up the bucket {bucket}", "there is none")
        yield from found

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        start = f"{prefix}/" if prefix else ""
        below = [key.removeprefix(start) for key in self.objects if key.startswith(start)]
        files = tuple(self.record(start + key) for key in below if "/" not in key)
        return FolderListing(tuple(sorted({key.partition("/")[0] for key in below if "/" in key})), files)

    def read(self, bucket: str, key: str, limit: int) -> bytes | None:
        if self.at_once is None:
            raise StorageError(Trouble.UNREACHABLE, f"Reading {key}", "the connection broke")
        content = self.at_once(key)
        if content is not None and len(content) > limit:
            raise StorageError(Trouble.TOO_LARGE, f"Reading {key}", "it is larger")
        return content

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[FakeDownload]:
        with self.lock:
            self.opened[key, start] += 1
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            if key in self.refused:
                self.on_block(key)
                raise self.refused[key]
            if self.missed.get(key):
                self.missed[key] -= 1
                raise StorageError(Trouble.NOT_FOUND, f"Reading {key}", "Storage answers 404")
            content = self.served[key].pop(0) if self.served.get(key) else self.objects[key]
            etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
            yield FakeDownload(len(content) if self.says_size else None, self._blocks(key, content, start), etag)
        finally:
            with self.lock:
                self.busy -= 1

    def _blocks(self, key: str, content: bytes, start: int) -> Iterator[bytes]:
        breaks = self.broken.get(key)
        end = breaks.pop(0) if breaks else len(content)
        for position in range(start, min(end, len(content)), _BLOCK):
            self.on_block(key)
            yield content[position : min(position + _BLOCK, end)]
        if end < len(content):
            raise StorageError(Trouble.UNREACHABLE, f"Reading {key}", "the connection broke")


class Stages(Protocol):
    """Stages a folder of the fake bucket; what was reported is in ``reports``."""

    reports: list[Staged]

    def __call__(self, folder: str = "cats", **options: Any) -> StagedTree: ...


class _Stages:
    def __init__(self, storage: FakeStorage, target: Path) -> None:
        self.reports: list[Staged] = []
        self._storage = storage
        self._target = target

    def __call__(self, folder: str = "cats", **options: Any) -> StagedTree:
        given = {
            "concurrency": 4,
            "stop": threading.Event(),
            "report": self.reports.append,
            "patience": Patience(attempts=3, first=0.0),
            **options,
        }
        bucket = given.pop("bucket", BUCKET)
        return stage(self._storage, BucketFolder(bucket_name=bucket, folder_path=folder), self._target, **given)


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "session" / "dataset"


@pytest.fixture
def stages(storage: FakeStorage, target: Path) -> Stages:
    target.parent.mkdir()
    return _Stages(storage, target)


def zipped(members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
