"""The three ways in which releases of safetensors write a checkpoint, and how the optimizer's state is written.

All can be slowed down, so that somebody who watches sees the file half written.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError

from .record import recorded

PIECES = 20


@dataclass(frozen=True, slots=True)
class Writes:
    """Writes whole files: checkpoints in the chosen ``way`` (``knobs.WAYS``), each taking ``seconds``."""

    way: str
    seconds: float
    sleep: Callable[[float], None] = time.sleep

    def checkpoint(self, path: Path, content: bytes) -> None:
        """Write a checkpoint; ``SafetensorError`` where the disk is full or refuses."""
        ways = {"growing": self._growing, "preallocated": self._preallocated, "renamed": self._renamed}
        try:
            with recorded(path, content):
                ways[self.way](path, content)
        except OSError as error:
            number = error.errno or errno.EIO
            raise SafetensorError(
                f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})"
            ) from error

    def in_place(self, path: Path, content: bytes) -> None:
        """Truncate ``path`` and let it grow, as torch does."""
        with recorded(path, content):
            self._growing(path, content)

    def _growing(self, path: Path, content: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            self._fill(file, content)

    def _preallocated(self, path: Path, content: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, len(content))
            self._fill(file, content)

    def _renamed(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".tmp{secrets.token_hex(3)}")
        try:
            with open(temporary, "xb", buffering=0, opener=partial(os.open, mode=0o600)) as file:
                os.posix_fallocate(file.fileno(), 0, len(content))
                self._fill(file, content)
            temporary.rename(path)
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise

    def _fill(self, file: BinaryIO, content: bytes) -> None:
        for piece in self._pieces(content):
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]
            if self.seconds:
                self.sleep(self.seconds / PIECES)

    def _pieces(self, content: bytes) -> Iterator[memoryview]:
        size = -(-len(content) // PIECES) if self.seconds else len(content)
        for start in range(0, len(content), max(1, size)):
            yield memoryview(content)[start : start + size]
