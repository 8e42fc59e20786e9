"""The files that are carried: made once, of bytes that nothing compresses, no two alike."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20
_POOL_BLOCKS = 16


class Material:
    """A folder of such files. What was asked for once is there the next time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = os.urandom(_POOL_BLOCKS * _BLOCK)
        self._made = 0

    def checkpoints(self, count: int, size: int) -> tuple[Path, ...]:
        """Return ``count`` checkpoints of ``size`` bytes each, whole ones by their format."""
        folder = self._folder / f"checkpoints-{size}"
        paths = tuple(folder / f"model_{number + 1:09d}.safetensors" for number in range(count))
        for path in paths:
            if not path.exists():
                self._write(path, size, safetensors_head(size))
        return paths

    def samples(self, count: int, size: int) -> tuple[Path, ...]:
        """Return ``count`` files of ``size`` bytes that pass for pictures."""
        folder = self._folder / f"samples-{count}-{size}"
        paths = tuple(folder / f"{number:06d}.jpg" for number in range(count))
        if not folder.exists():
            for path in paths:
                self._write(path, size)
        return paths

    def _write(self, path: Path, size: int, head: bytes = b"") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(head)
            while (left := size - file.tell()) > 0:
                file.write(self._block()[:left])

    def _block(self) -> bytes:
        """Return a megabyte that has not been there before, as far as its first bytes tell."""
        self._made += 1
        start = self._made % _POOL_BLOCKS * _BLOCK
        return self._made.to_bytes(8, "little") + self._pool[start + 8 : start + _BLOCK]


def safetensors_head(size: int) -> bytes:
    """Return the beginning of a safetensors file that has ``size`` bytes in all: one tensor, whose data follow."""
    length = 128
    data = size - 8 - length
    header = json.dumps({"data": {"dtype": "U8", "shape": [data], "data_offsets": [0, data]}}).encode()
    return length.to_bytes(8, "little") + header.ljust(length)
