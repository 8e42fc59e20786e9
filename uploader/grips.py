"""Files that are held open: while they are, a deletion takes away only their name, and the bytes can still be sent.

A hard link would outlive this process, too, but making one changes the file's ctime, and so does removing it.
"""

from __future__ import annotations

import os
import resource
import stat
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uploader.scan import look, seen_of, version_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from uploader.scan import Seen, Version

# A run that has more to hold has lost its line to Storage for very long; what comes first is deleted first.
MOST_HELD = 64

_FILES = Path("/proc/self/fd")
# Neither a link nor a FIFO is followed or waited for.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Held:
    """A file that is held: its path below the root, and its inode, since another file may have taken its name."""

    path: str
    inode: int


class Grips:
    """The open files of one run, below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptors: dict[Held, int] = {}
        # Whoever forgets a run lets go of its files.
        weakref.finalize(self, _close, self._descriptors)

    @property
    def all(self) -> tuple[Held, ...]:
        """Return what is held."""
        return tuple(self._descriptors)

    def take(self, path: str, inode: int) -> None:
        """Take hold of the file at ``path`` if it has that inode, and if there are descriptors enough."""
        wanted = Held(path, inode)
        if wanted in self._descriptors or len(self._descriptors) >= MOST_HELD:
            return
        with suppress(OSError):
            # Whatever is wrong with the file, its delivery will say.
            descriptor = os.open(self._root / path, _READING)
            if _is_regular(descriptor, inode) and not _is_scarce(descriptor):
                self._descriptors[wanted] = descriptor
            else:
                os.close(descriptor)

    def holds(self, path: str, inode: int) -> bool:
        """Return whether the file is held."""
        return Held(path, inode) in self._descriptors

    def look(self, path: str, inode: int) -> Seen | None:
        """Return the held file as it is now, whether or not it still has its name; None when it is not held."""
        status = self._status(Held(path, inode))
        return None if status is None else seen_of(path, status)

    def is_nameless(self, path: str, inode: int) -> bool:
        """Return whether nothing leads to the held file any more, as far as one can see.

        Its links are not asked: some volumes hide one.
        """
        seen = look(self._root, path)
        return seen is None or (seen.version.inode != inode and not seen.hidden)

    def is_renamed(self, path: str, inode: int) -> bool:
        """Return whether the held file has only got another name. Some volumes hide deleted files: with a dot."""
        descriptor = self._descriptors.get(Held(path, inode))
        if descriptor is None:
            return False
        with suppress(OSError):
            leads_to = (_FILES / str(descriptor)).readlink()
            return not leads_to.name.startswith(".") and leads_to.lstat().st_ino == inode
        return False

    def nameless(self) -> list[Seen]:
        """Return what is held and has lost its name, as it is now."""
        lost = (held for held in self.all if self.is_nameless(held.path, held.inode))
        return [seen for held in lost if (seen := self.look(held.path, held.inode)) is not None]

    def where(self, path: str, inode: int) -> Path | None:
        """Return where the held file can be opened for reading without its name; None when it is not held."""
        descriptor = self._descriptors.get(Held(path, inode))
        return None if descriptor is None else _FILES / str(descriptor)

    def duplicate(self, path: str, version: Version) -> int | None:
        """Return a descriptor of exactly that version, to be closed by the caller; None when it is not held."""
        held = Held(path, version.inode)
        status = self._status(held)
        if status is None or version_of(status) != version:
            return None
        return os.dup(self._descriptors[held])

    def drop(self, path: str, inode: int) -> None:
        """Let go of one file."""
        descriptor = self._descriptors.pop(Held(path, inode), None)
        if descriptor is not None:
            os.close(descriptor)

    def retain(self, wanted: Collection[Held]) -> None:
        """Let go of everything else."""
        for held in self.all:
            if held not in wanted:
                os.close(self._descriptors.pop(held))

    def close(self) -> None:
        """Let go of everything."""
        _close(self._descriptors)

    def _status(self, held: Held) -> os.stat_result | None:
        descriptor = self._descriptors.get(held)
        try:
            return None if descriptor is None else os.fstat(descriptor)
        except OSError:
            # A network volume may forget a file that has lost its name.
            os.close(self._descriptors.pop(held))
            return None


def _close(descriptors: dict[Held, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


def _is_regular(descriptor: int, inode: int) -> bool:
    """Return whether it is the regular file of that inode. Some volumes open a file and then tell nothing of it."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return status.st_ino == inode and stat.S_ISREG(status.st_mode)


def _is_scarce(descriptor: int) -> bool:
    """Return whether the rest is kept for connections and the ledger: the kernel gives the lowest free number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft // 2
