"""What is sent, in blocks: one big ``bytes`` would cost time that grows with its square, and memory besides."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from shared.storage.errors import StorageError, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 256 << 10


class Body(Protocol):
    """Bytes whose number is known beforehand. ``blocks`` may be asked for again, for another attempt."""

    @property
    def size(self) -> int:
        """Return the number of bytes that ``blocks`` will yield."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, from the first one, in blocks."""
        ...


class BytesBody:
    """Small content that is in memory anyway. ``throttle`` gets each block's length and returns when it may go."""

    def __init__(self, content: bytes, *, block: int = BLOCK, throttle: Callable[[int], None] | None = None) -> None:
        self._content = content
        self._block = block
        self._throttle = throttle

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return len(self._content)

    def blocks(self) -> Iterator[bytes]:
        """Yield the content."""
        for start in range(0, len(self._content), self._block):
            block = self._content[start : start + self._block]
            if self._throttle:
                self._throttle(len(block))
            yield block


class FileRange:
    """``length`` bytes of a file from byte ``start``.

    The file's position is neither used nor moved, so threads may share an open file. ``tap`` sees each block before
    it is sent, for a digest of what really went out; ``throttle`` gets its length and returns when it may go.
    """

    def __init__(
        self,
        file: BinaryIO | Path,
        start: int,
        length: int,
        *,
        block: int = BLOCK,
        tap: Callable[[bytes], None] | None = None,
        throttle: Callable[[int], None] | None = None,
    ) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._block = block
        self._tap = tap
        self._throttle = throttle

    @property
    def size(self) -> int:
        """Return the number of bytes that were promised."""
        return self._length

    def blocks(self) -> Iterator[bytes]:
        """Yield the range. Raises StorageError (CHANGED) where the file ends early, and OSError as the disk does."""
        position, end = self._start, self._start + self._length
        with _descriptor(self._file) as descriptor:
            while position < end:
                block = os.pread(descriptor, min(self._block, end - position), position)
                if not block:
                    raise self._shorter(position, end)
                position += len(block)
                self._pass(block)
                yield block

    def _pass(self, block: bytes) -> None:
        if self._throttle:
            self._throttle(len(block))
        if self._tap:
            self._tap(block)

    def _shorter(self, position: int, end: int) -> StorageError:
        name = self._file if isinstance(self._file, Path) else getattr(self._file, "name", "the file")
        return StorageError(
            Trouble.CHANGED,
            f"Reading {name}",
            f"it ends at byte {position}, but {end} were there when it was looked at",
        )


@contextmanager
def _descriptor(file: BinaryIO | Path) -> Iterator[int]:
    if not isinstance(file, Path):
        yield file.fileno()
        return
    with file.open("rb", buffering=0) as opened:
        yield opened.fileno()
