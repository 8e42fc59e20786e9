"""Uploads as the tests make them: whole ones by either way, and bodies that stop in the middle."""

from __future__ import annotations

import random
import threading
import uuid
from typing import TYPE_CHECKING, Literal

from shared.clock import SystemClock
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.storage.client import Storage

Way = Literal["standard", "resumable"]
TEXT = "text/plain"
_SECONDS = 30.0
_BLOCK = 64 << 10


def content(size: int, seed: int = 0) -> bytes:
    """Return bytes that are the same in every run."""
    return random.Random(seed).randbytes(size)


def new_name() -> str:
    """Return a bucket's name that nobody else uses."""
    return f"ferry-test-{uuid.uuid4().hex[:16]}"


def put(storage: Storage, bucket: str, key: str, text: bytes = b"x", metadata: Mapping[str, str] | None = None) -> None:
    storage.put(bucket, key, BytesBody(text), content_type=TEXT, metadata=metadata or {})


def upload(
    storage: Storage, way: Way, bucket: str, key: str, data: bytes, metadata: Mapping[str, str] | None = None
) -> None:
    if way == "standard":
        put(storage, bucket, key, data, metadata)
        return
    announced = storage.create_upload(bucket, key, len(data), content_type=TEXT, metadata=metadata or {})
    if data:
        assert storage.append(announced.url, announced.offset, BytesBody(data)) == len(data)


def read(storage: Storage, bucket: str, key: str) -> bytes:
    found = storage.read(bucket, key)
    assert found is not None, key
    return found


def offset_once_stored(storage: Storage, url: str) -> int:
    """Return the upload's offset as soon as it is no longer 0."""

    def ask() -> int:
        offset = storage.upload_offset(url)
        if not offset:
            raise StorageError(Trouble.BUSY, "Waiting for the server to store what was sent", "its offset is 0")
        return offset

    return _persistently(ask)


def resume(storage: Storage, url: str, data: bytes) -> int:
    """Send what the server does not have yet, and return the offset from which on that was.

    Asked right after a connection was cut, a server may name an offset that grows a moment later, when it has stored
    the rest of what it got. It refuses what is sent meanwhile, and has to be asked again.
    """

    def go_on() -> int:
        offset = storage.upload_offset(url)
        if storage.append(url, offset, BytesBody(data[offset:])) < len(data):
            raise StorageError(Trouble.BUSY, "Resuming", "the server took less than it was sent")
        return offset

    return _persistently(go_on)


def _persistently(operation: Callable[[], int]) -> int:
    patience = Patience(seconds=_SECONDS, first=0.02, longest=0.2)
    return call(operation, patience, clock=SystemClock(), wait=threading.Event().wait)


class CutBody:
    """Promises all of ``data`` and breaks off after ``length`` bytes, as a process does that is killed."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data = data
        self._length = length

    @property
    def size(self) -> int:
        return len(self._data)

    def blocks(self) -> Iterator[bytes]:
        for start in range(0, self._length, _BLOCK):
            yield self._data[start : min(start + _BLOCK, self._length)]
        raise ConnectionAbortedError("cut")


class StalledBody:
    """Stops in the middle until it is let go."""

    def __init__(self, data: bytes, length: int) -> None:
        self._data = data
        self._length = length
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    @property
    def size(self) -> int:
        return len(self._data)

    def blocks(self) -> Iterator[bytes]:
        yield from BytesBody(self._data[: self._length]).blocks()
        self.stalled.set()
        self.go_on.wait(_SECONDS)
        yield from BytesBody(self._data[self._length :]).blocks()
