"""A trainer that keeps a record of every version that it completed: what may be in the bucket, and what must be."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.unit.uploader.harbour import safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.uploader.harbour import FakeClock
    from uploader.open_files import FileId

LOG = "logs/training.log"
SMALL_CHECKPOINT = "pictures/pictures_000000002.pt"
CHECKPOINTS = (
    "pictures/pictures_000000004.safetensors",
    "pictures/pictures_000000008.safetensors",
    SMALL_CHECKPOINT,
)
NAMES = (
    *CHECKPOINTS,
    "pictures/optimizer.pt",
    "pictures/samples/a.png",
    "outputs/note.txt",
    "note.txt",
    "pictures/loss_log.db",
)
# Above this many bytes a file is sent in chunks; the product's own limits, made small.
LARGE = 64


@dataclass(frozen=True, slots=True)
class _Writing:
    """What a file is to become; it is open as ``descriptor``, which its deletion does not change."""

    content: bytes
    file: FileId
    descriptor: int


class Trainer:
    """Writes below ``output`` in every way that trainers do. ``open_files`` are those that it holds open for writing.

    ``completed`` and ``states`` hold, by path, every content that was whole, and every one that there ever was.
    """

    def __init__(self, output: Path, clock: FakeClock, open_files: set[FileId]) -> None:
        self.output = output
        self.completed: dict[str, set[bytes]] = defaultdict(set)
        self.states: dict[str, set[bytes]] = defaultdict(set)
        self._clock = clock
        self._open_files = open_files
        self._writing: dict[str, _Writing] = {}
        self._number = 0

    # What it does

    def write(self, path: str) -> None:
        """Write a file in place."""
        content = self._content(path)
        self._put(path, content)
        self._complete(path, content)

    def replace(self, path: str) -> None:
        """Write a file beside it and put it in place."""
        content = self._content(path)
        temporary = self.output / ".temporary"
        temporary.write_bytes(content)
        self._move(temporary, path)
        self._complete(path, content)

    def begin(self, path: str, *, preallocate: bool) -> None:
        """Begin to write a file, and leave it half done and open."""
        if path in self._writing:
            return
        content = self._content(path)
        half = content[: len(content) // 2]
        self._put(path, half + b"\0" * (len(content) - len(half)) if preallocate else half)
        descriptor = os.open(self.output / path, os.O_WRONLY)
        status = os.fstat(descriptor)
        self._writing[path] = _Writing(content, (status.st_dev, status.st_ino), descriptor)
        self._open_files.add(self._writing[path].file)

    def finish(self, path: str) -> None:
        """Complete what was begun and close it, whether or not it has been deleted meanwhile."""
        writing = self._writing.pop(path, None)
        if writing is None:
            return
        self._open_files.discard(writing.file)
        if self._is_at(path, writing.file):
            self._put(path, writing.content)
        else:
            os.pwrite(writing.descriptor, writing.content, 0)
            self._stamp(writing.descriptor)
        os.close(writing.descriptor)
        self._complete(path, writing.content)

    def append(self, text: bytes) -> None:
        """Let the log grow."""
        old = (self.output / LOG).read_bytes() if (self.output / LOG).exists() else b""
        self._number += 1
        self._put(LOG, old + b"line %d%s" % (self._number, text))

    def delete(self, path: str) -> None:
        """Delete a file, whether or not it is being written."""
        if (self.output / path).exists():
            (self.output / path).unlink()
            self._stamp((self.output / path).parent)

    def touch(self, path: str) -> None:
        """Change a file's times alone."""
        if (self.output / path).exists():
            self._stamp(self.output / path)

    def rename(self, path: str, other: str) -> None:
        """Give a file that is whole another name."""
        if path not in self._writing and (self.output / path).exists():
            content = (self.output / path).read_bytes()
            self._move(self.output / path, other)
            self._complete(other, content)

    def sneak(self, path: str) -> bool:
        """Change the last byte of a file and put its times back, as a writer with a mapping may; return whether."""
        file = self.output / path
        if path in self._writing or not file.exists():
            return False
        status, content = file.stat(), bytearray(file.read_bytes())
        content[-1] ^= 1
        with file.open("r+b") as writing:
            writing.write(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._complete(path, bytes(content))
        return True

    def end(self, *, by_itself: bool) -> None:
        """End: what was being written is completed, or stays as it is for ever."""
        for path in list(self._writing):
            if by_itself:
                self.finish(path)
        for writing in self._writing.values():
            os.close(writing.descriptor)
        self._writing.clear()
        self._open_files.clear()
        for path in self.there():
            # Nothing will change them any more; only checkpoints are told apart.
            if path not in CHECKPOINTS and not path.endswith("optimizer.pt"):
                self.completed[path].add((self.output / path).read_bytes())

    # What is known of it

    def is_whole(self, path: str) -> bool:
        """Return whether the file is there and complete."""
        file = self.output / path
        return path not in self._writing and file.exists() and file.read_bytes() in self.completed[path]

    def there(self) -> list[str]:
        """Return every file that there is, hidden ones left out."""
        files = (path for path in self.output.rglob("*") if path.is_file() and not path.name.startswith("."))
        return [path.relative_to(self.output).as_posix() for path in files]

    def may_be_published(self, path: str, content: bytes, *, incomplete: bool) -> bool:
        """Return whether ``content`` was ever a version of ``path`` that may be shown as what it is shown as."""
        if incomplete:
            return content in self.states[path]
        if path == LOG:
            return any(state.startswith(content) for state in self.states[path])
        return content in self.completed[path]

    def _content(self, path: str) -> bytes:
        self._number += 1
        text = f"{path} {self._number} ".encode()
        if path in CHECKPOINTS and path != SMALL_CHECKPOINT:
            return safetensors(text * 4)
        return text * 5 if path.endswith(("optimizer.pt", ".png")) else text

    def _put(self, path: str, content: bytes) -> None:
        (self.output / path).parent.mkdir(parents=True, exist_ok=True)
        (self.output / path).write_bytes(content)
        self._stamp(self.output / path)
        self._stamp((self.output / path).parent)
        self.states[path].add(content)

    def _move(self, source: Path, path: str) -> None:
        (self.output / path).parent.mkdir(parents=True, exist_ok=True)
        self._stamp(source)
        self.states[path].add(source.read_bytes())
        source.replace(self.output / path)
        self._stamp(source.parent)
        self._stamp((self.output / path).parent)

    def _stamp(self, file: Path | int) -> None:
        """Set the times by the test's clock. No two are alike: the kernel's own stand still for milliseconds."""
        self._number += 1
        moment = int(self._clock.now() * 1e9) + self._number
        os.utime(file, ns=(moment, moment))

    def _complete(self, path: str, content: bytes) -> None:
        self.completed[path].add(content)
        self.states[path].add(content)

    def _is_at(self, path: str, file: FileId) -> bool:
        try:
            status = (self.output / path).stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == file
