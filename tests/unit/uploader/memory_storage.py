"""A Storage in memory with the client's own methods, that goes wrong where a test says so."""

from __future__ import annotations

import hashlib
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from shared.storage.client import SMALL_DOCUMENT, Storage
from shared.storage.errors import StorageError, Trouble
from shared.storage.records import BucketRecord, FolderListing, ObjectRecord, Upload
from tests.unit.handler.crew import FakeDownload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.storage.body import Body
    from shared.storage.download import Download

BUCKET = "outputs"


@dataclass
class Thing:
    content: bytes
    version: str
    metadata: dict[str, str]


@dataclass
class Pending:
    key: str
    size: int
    metadata: dict[str, str]
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Fault:
    call: str
    key: str
    error: StorageError
    times: int
    after: bool


def trouble(kind: Trouble, *, transient: bool | None = None) -> StorageError:
    return StorageError(kind, "A call", "a test wants it", transient=transient)


class MemoryStorage(Storage):
    """``calls`` counts what was asked, ``received`` the bytes that came for each key.

    ``signed`` holds until when (by ``now``) each address opens its object.
    """

    def __init__(self, *, digests: bool = True) -> None:
        self.objects: dict[str, Thing] = {}
        self.uploads: dict[str, Pending] = {}
        self.calls: list[tuple[str, str]] = []
        self.received: dict[str, int] = {}
        self.faults: list[Fault] = []
        self.signed: dict[str, float] = {}
        self.now: Callable[[], float] = lambda: 0.0
        self.keep_of_append: int | None = None
        self.commits = True
        self.while_sending: Callable[[str], None] = lambda key: None
        self._digests = digests
        self._number = 0
        self._lock = threading.RLock()

    def fail(
        self, call: str, error: StorageError | Trouble, *, key: str = "", times: int = 1, after: bool = False
    ) -> None:
        """Have the next ``times`` calls fail; ``after``: when they have done their work, so that the answer is lost."""
        told = error if isinstance(error, StorageError) else trouble(error)
        self.faults.append(Fault(call, key, told, times, after))

    def count(self, call: str, key: str = "") -> int:
        return sum(name == call and key in told for name, told in self.calls)

    def _hit(self, call: str, key: str, *, after: bool) -> None:
        for fault in self.faults:
            if fault.call in {call, "*"} and fault.key in key and fault.after is after and fault.times > 0:
                fault.times -= 1
                raise fault.error

    def _begin(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        self._hit(call, key, after=False)

    def _receive(self, key: str, body: Body) -> Iterator[bytes]:
        for block in body.blocks():
            self.received[key] = self.received.get(key, 0) + len(block)
            yield block
            self.while_sending(key)

    def _store(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        with self._lock:
            self._number += 1
            self.objects[key] = Thing(content, f"version-{self._number}", dict(metadata))

    def _record(self, key: str) -> ObjectRecord:
        thing = self.objects[key]
        etag = hashlib.md5(thing.content).hexdigest() if self._digests else "0-2"
        return ObjectRecord(key, len(thing.content), etag, thing.version, None, thing.metadata)

    # The client's methods

    def bucket(self, name: str) -> BucketRecord:
        self._begin("bucket", name)
        return BucketRecord(name, False, None, None)

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        self._begin("walk", prefix)
        yield from (self._record(key) for key in sorted(self.objects) if key.startswith(f"{prefix}/" if prefix else ""))

    def newest(self, bucket: str, start: str) -> tuple[ObjectRecord, ...]:
        self._begin("newest", start)
        found = [key for key in self.objects if key.startswith(start)]
        found.sort(key=lambda key: int(self.objects[key].version.rpartition("-")[2]), reverse=True)
        return tuple(replace(self._record(key), version=None, metadata={}) for key in found[:1000])

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        self._begin("folder", prefix)
        return FolderListing((), tuple(record for record in self.walk(bucket, prefix)))

    def info(self, bucket: str, key: str) -> ObjectRecord | None:
        self._begin("info", key)
        return self._record(key) if key in self.objects else None

    def move(self, bucket: str, source: str, target: str) -> None:
        self._begin("move", target)
        with self._lock:
            if target in self.objects:
                raise trouble(Trouble.EXISTS)
            if source not in self.objects:
                raise trouble(Trouble.NOT_FOUND)
            self.objects[target] = self.objects.pop(source)
        self._hit("move", target, after=True)

    def remove(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            self._begin("remove", key)
            self.objects.pop(key, None)
            self._hit("remove", key, after=True)

    def signed_urls(self, bucket: str, keys: Sequence[str], seconds: int) -> dict[str, str]:
        self._begin("signed_urls", bucket)
        found = {key: f"https://memory/{bucket}/{key}?token={uuid.uuid4().hex}" for key in keys if key in self.objects}
        self.signed |= dict.fromkeys(found.values(), self.now() + seconds)
        return found

    def opened_by(self, url: str) -> str | None:
        """Return the key of the object that an address opens, if any."""
        return url.removeprefix(f"https://memory/{BUCKET}/").partition("?")[0] if url in self.signed else None

    def read(self, bucket: str, key: str, limit: int = SMALL_DOCUMENT) -> bytes | None:
        self._begin("read", key)
        return self.objects[key].content if key in self.objects else None

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[Download]:
        self._begin("open", key)
        if key not in self.objects:
            raise trouble(Trouble.NOT_FOUND)
        content = self.objects[key].content
        yield cast("Download", FakeDownload(len(content), content[start:]))

    def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        upsert: bool = True,
    ) -> None:
        self._begin("put", key)
        self._store(key, b"".join(self._receive(key, body)), metadata)
        self._hit("put", key, after=True)

    def create_upload(
        self, bucket: str, key: str, size: int, *, content_type: str, metadata: Mapping[str, str]
    ) -> Upload:
        self._begin("create_upload", key)
        url = f"upload-{len(self.calls)}"
        self.uploads[url] = Pending(key, size, dict(metadata))
        self._hit("create_upload", key, after=True)
        return Upload(url, None, 0)

    def upload_offset(self, url: str) -> int:
        self._begin("upload_offset", url)
        return len(self._pending(url).content)

    def append(self, url: str, offset: int, body: Body) -> int:
        pending = self._pending(url)
        self._begin("append", pending.key)
        if offset != len(pending.content):
            raise trouble(Trouble.OFFSET_CONFLICT)
        for block in self._receive(pending.key, body):
            pending.content += block
        if self.keep_of_append is not None:
            del pending.content[offset + self.keep_of_append :]
            self.keep_of_append = None
        if len(pending.content) == pending.size and (self.commits or body.size == 0):
            self._store(pending.key, bytes(pending.content), pending.metadata)
            del self.uploads[url]
        self._hit("append", pending.key, after=True)
        return len(pending.content)

    def finish(self, url: str, offset: int) -> None:
        pending = self._pending(url)
        self._begin("finish", pending.key)
        self._store(pending.key, bytes(pending.content), pending.metadata)
        self._hit("finish", pending.key, after=True)

    def terminate(self, url: str) -> None:
        self._begin("terminate", url)
        self.uploads.pop(url, None)

    def _pending(self, url: str) -> Pending:
        if url not in self.uploads:
            raise trouble(Trouble.UPLOAD_GONE)
        return self.uploads[url]
