"""Reading the output tree: which regular files there are and the version each of them has."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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


class Folders:
    """The folders below a root. A folder whose mtime stands still is not listed again to find its sub-folders."""

    def __init__(self, root: Path, skip: Callable[[str], bool]) -> None:
        self._root = root
        self._skip = skip
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}

    def changed(self, *, everything: bool, now_ns: int) -> Iterator[str]:
        """Yield the folders whose entries may have changed since the last call; the root itself is ``""``.

        ``everything`` yields them all. A folder that changed within the file system's own time resolution of
        ``now_ns`` (Unix nanoseconds) is yielded again, because a further change might not show in its mtime.
        """
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                mtime = (self._root / folder).stat().st_mtime_ns
                known = self._known.get(folder)
                fresh = known is None or known[0] != mtime or abs(now_ns - mtime) < _TIME_RESOLUTION_NS
                if fresh or everything or known is None:
                    known = self._known[folder] = (mtime, self._inner(folder))
                    yield folder
            except (FileNotFoundError, NotADirectoryError):
                self._known.pop(folder, None)
                continue
            except OSError:
                # What is wrong with it, ``files`` says.
                self._known.pop(folder, None)
                yield folder
                continue
            waiting.extend(known[1])

    def _inner(self, folder: str) -> tuple[str, ...]:
        with os.scandir(self._root / folder) as entries:
            paths = [_join(folder, entry.name) for entry in entries if _is_folder(entry)]
        return tuple(path for path in paths if not self._skip(path))


def _nothing(_path: str, _status: os.stat_result) -> bool:
    return False


def files(
    root: Path,
    folder: str,
    skip: Callable[[str], bool],
    familiar: Callable[[str, os.stat_result], bool] = _nothing,
) -> Iterator[Seen]:
    """Yield what lies directly in ``folder``, folders left out. A file that vanishes meanwhile is passed over.

    What is ``familiar`` is passed over, too: of ten thousand files nearly all are, at nearly every look. Of a folder
    that cannot be read, the folder itself is yielded, as something strange. Raises OSError where the whole tree cannot
    be read.
    """
    try:
        entries = os.scandir(root / folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if not folder:
            raise
        yield _hidden(folder, error)
        return
    with entries:
        for entry in entries:
            if _is_folder(entry):
                continue
            path = _join(folder, entry.name)
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                if not skip(path):
                    yield _hidden(path, error)
                continue
            if not familiar(path, status) and not skip(path):
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
