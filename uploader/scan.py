"""Reading the output tree: which regular files there are and the version each of them has."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.patience import may_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

# FAT and some network file systems count in two seconds: so long, a further change may show in no time.
TIME_RESOLUTION_SECONDS = 2.0
# What the ledger can hold ends in the year 2262; a file may say that it is of any other.
_LATEST_NS = (1 << 63) - 1
_FOLDER = "a folder"


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
    """A file as a scan saw it. ``strange`` says what it is when it is no regular file, and so cannot be carried.

    ``hidden``: the system does not let one look at it, which may pass.
    """

    path: str
    version: Version
    device: int
    strange: str | None = None
    hidden: bool = False

    @property
    def is_folder(self) -> bool:
        """Return whether a folder has taken the file's place."""
        return self.strange == _FOLDER


# Of what no look has told anything.
NEVER_LOOKED_AT = Version(0, 0, 0)


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
        return hidden(path, error)


def _nothing(_path: str, _status: os.stat_result) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a folder from another without listing it: its mtime alone may be set back."""

    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class _Listed:
    """A folder as it was last listed: its stamp, since when (monotonic seconds) it has had it, and its folders.

    ``sure``: it was listed so long after it got its stamp that a later change gives it another one.
    """

    stamp: _Stamp
    since: float
    sure: bool
    folders: tuple[str, ...]


@dataclass(slots=True)
class _Listing:
    """What a listing comes to besides the files: the folders, and what ended it before its time."""

    folders: list[str] = field(default_factory=list)
    error: OSError | None = None


class Tree:
    """What lies below a root. A folder that has not changed is not listed again."""

    def __init__(self, root: Path, skip: Callable[[str], bool], monotonic: Callable[[], float]) -> None:
        self._root = root
        self._skip = skip
        self._monotonic = monotonic
        self._known: dict[str, _Listed] = {}

    def changed(
        self, *, everything: bool, familiar: Callable[[str, os.stat_result], bool] = _nothing
    ) -> Iterator[tuple[str, Iterator[Seen]]]:
        """Yield the folders whose entries may have changed since the last call, and of each the files right in it.

        The root itself is ``""``. ``everything`` yields all folders. One that was listed within the file system's own
        time resolution of its last change is yielded again, because a further change might not show in its times. What
        is ``familiar`` is passed over: of ten thousand files nearly all are, at nearly every look. A file that vanishes
        meanwhile is passed over, too. A folder that cannot be read, or not to its end, holds itself, as something
        strange. Raises OSError where the whole tree cannot be read.
        """
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            # Whoever breaks off in the middle of a folder finds it changed the next time, too.
            known = self._known.pop(folder, None)
            try:
                stamp = _stamp_of((self._root / folder).stat())
                now = self._monotonic()
                if known is not None and known.stamp == stamp and known.sure and not everything:
                    self._known[folder] = known
                    waiting.extend(known.folders)
                    continue
                entries = os.scandir(self._root / folder)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if not folder:
                    raise
                yield folder, iter((hidden(folder, error),))
                continue
            found = _Listing()
            with entries:
                files = self._files(folder, entries, found, familiar)
                yield folder, files
                # The folders among them are to be found whether anybody asked for the files or not.
                deque(files, maxlen=0)
            waiting.extend(found.folders)
            if found.error is None:
                since = known.since if known is not None and known.stamp == stamp else now
                sure = now - since >= TIME_RESOLUTION_SECONDS
                self._known[folder] = _Listed(stamp, since, sure, tuple(found.folders))
            elif not folder:
                raise found.error

    def _files(
        self,
        folder: str,
        entries: Iterable[os.DirEntry[str]],
        found: _Listing,
        familiar: Callable[[str, os.stat_result], bool],
    ) -> Iterator[Seen]:
        """Yield the files among ``entries``, and put the folders among them into ``found``."""
        for entry in _readable(entries, found):
            path = _join(folder, entry.name)
            if _is_folder(entry):
                if not self._skip(path):
                    found.folders.append(path)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                if not self._skip(path):
                    yield hidden(path, error)
                continue
            if not familiar(path, status) and not self._skip(path):
                yield seen_of(path, status)
        if found.error is not None and folder:
            yield hidden(folder, found.error)


def _readable(entries: Iterable[os.DirEntry[str]], found: _Listing) -> Iterator[os.DirEntry[str]]:
    """Yield the entries until the folder cannot be read any further, and note why."""
    try:
        yield from entries
    except OSError as error:
        found.error = error


def _stamp_of(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def hidden(path: str, error: OSError) -> Seen:
    """Return what can be said of something that the system does not let one look at: one such is not all the others."""
    reason = f"something that cannot be looked at ({error.strerror})"
    return Seen(path, NEVER_LOOKED_AT, 0, reason, hidden=may_pass(error))


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
        return _FOLDER
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
