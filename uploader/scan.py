"""Reading the output tree: which regular files there are and the version each of them has."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

# FAT and some network file systems count in two seconds.
_TIME_RESOLUTION_NS = 2_000_000_000
# What the ledger can hold ends in the year 2262; a file may say that it is of any other.
_LATEST_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one version of a file from another without reading it: size in bytes, mtime in ns, inode."""

    size: int
    mtime_ns: int
    inode: int

    @property
    def mtime(self) -> float:
        """Return the modification time as Unix seconds."""
        return self.mtime_ns / 1e9


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as a scan saw it. ``strange`` says what it is when it is no regular file, and so cannot be carried."""

    path: str
    version: Version
    device: int
    strange: str | None = None


def version_of(status: os.stat_result) -> Version:
    """Return the version that a stat result stands for."""
    mtime_ns = max(-_LATEST_NS, min(status.st_mtime_ns, _LATEST_NS))
    return Version(size=status.st_size, mtime_ns=mtime_ns, inode=status.st_ino)


def look(root: Path, path: str) -> Seen | None:
    """Return the file at ``path`` below ``root`` as it is now, or None when it is gone. Links are not followed."""
    try:
        return seen_of(path, (root / path).lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return _hidden(path, error)


def _nothing(_path: str, _status: os.stat_result) -> bool:
    return False


class Tree:
    """What lies below a root. A folder whose mtime stands still is not listed again."""

    def __init__(self, root: Path, skip: Callable[[str], bool]) -> None:
        self._root = root
        self._skip = skip
        # The mtime of each folder when it was last listed, and the folders in it.
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}

    def changed(
        self, *, everything: bool, now_ns: int, familiar: Callable[[str, os.stat_result], bool] = _nothing
    ) -> Iterator[tuple[str, Iterator[Seen]]]:
        """Yield the folders whose entries may have changed since the last call, and of each the files right in it.

        The root itself is ``""``. ``everything`` yields all folders. One that changed within the file system's own time
        resolution of ``now_ns`` (Unix nanoseconds) is yielded again, because a further change might not show in its
        mtime. What is ``familiar`` is passed over: of ten thousand files nearly all are, at nearly every look. A file
        that vanishes meanwhile is passed over, too. Of a folder that cannot be read, the folder itself is what it
        holds, as something strange. Raises OSError where the whole tree cannot be read.
        """
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            # Whoever breaks off in the middle of a folder finds it changed the next time, too.
            before, inner = self._known.pop(folder, (None, ()))
            try:
                mtime = (self._root / folder).stat().st_mtime_ns
                fresh = before != mtime or abs(now_ns - mtime) < _TIME_RESOLUTION_NS
                entries = os.scandir(self._root / folder) if fresh or everything else None
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if not folder:
                    raise
                yield folder, iter((_hidden(folder, error),))
                continue
            if entries is not None:
                found: list[str] = []
                with entries:
                    files = self._files(folder, entries, found, familiar)
                    yield folder, files
                    # The folders among them are to be found whether anybody asked for the files or not.
                    deque(files, maxlen=0)
                inner = tuple(found)
            self._known[folder] = mtime, inner
            waiting.extend(inner)

    def _files(
        self,
        folder: str,
        entries: Iterable[os.DirEntry[str]],
        found: list[str],
        familiar: Callable[[str, os.stat_result], bool],
    ) -> Iterator[Seen]:
        """Yield the files among ``entries``, and put the folders among them into ``found``."""
        for entry in entries:
            path = _join(folder, entry.name)
            if _is_folder(entry):
                if not self._skip(path):
                    found.append(path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                if not self._skip(path):
                    yield _hidden(path, error)
                continue
            if not familiar(path, status) and not self._skip(path):
                yield seen_of(path, status)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _hidden(path: str, error: OSError) -> Seen:
    """Return what can be said of something that the system does not let one look at: one such is not all the others."""
    return Seen(path, Version(0, 0, 0), 0, f"something that cannot be looked at ({error.strerror})")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def seen_of(path: str, status: os.stat_result) -> Seen:
    """Return the file at ``path`` as a stat result shows it."""
    return Seen(path, version_of(status), status.st_dev, strange(status.st_mode))


def strange(mode: int) -> str | None:
    """Return what a file of that mode is when it is no regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
