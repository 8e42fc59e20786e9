"""The files that are carried: made once, of bytes that nothing compresses, no two alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.toolkit.run import safetensors_head

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

    def dataset(self, count: int, least: int, most: int) -> tuple[Path, ...]:
        """Return ``count`` files that pass for pictures, from ``least`` to ``most`` bytes, evenly spread."""
        folder = self._folder / f"dataset-{count}-{least}-{most}"
        paths = tuple(folder / f"{number:06d}.jpg" for number in range(count))
        if not folder.exists():
            for number, path in enumerate(paths):
                self._write(path, least + (most - least) * number // max(1, count - 1))
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
