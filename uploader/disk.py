"""What the uploader knows of the disk under its sessions: how much is free, and whether it has refused something.

On a network volume what is free is the whole cluster's, and the quota shows only when a write is refused.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOW_BYTES = 2 << 30
# Of a small disk the twentieth part.
LOW_PART = 20

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# SQLite puts details into the upper bytes of its codes.
_PRIMARY_CODE = 0xFF


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes that are free for this user, and all bytes of the disk."""

    free: int
    total: int

    def lacks(self, next_save: int) -> int:
        """Return how many bytes too few are free for a save of ``next_save`` bytes and what else is written."""
        return max(0, min(LOW_BYTES, self.total // LOW_PART) + next_save - self.free)


def space_at(folder: Path) -> Space:
    """Return the space where ``folder`` is, or will be made. Raises OSError where it cannot be asked."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(there)
    return Space(free=found.f_bavail * found.f_frsize, total=found.f_blocks * found.f_frsize)


def says_full(error: BaseException) -> bool:
    """Return whether an error means that there is no room left."""
    if isinstance(error, sqlite3.Error):
        code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
        return code & _PRIMARY_CODE == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in _FULL


class Disk:
    """The disk, for all runs of one uploader. ``warning`` is what people are to know of it."""

    def __init__(self, measure: Callable[[Path], Space] = space_at) -> None:
        self.measure = measure
        self.warning: str | None = None
        self._refused = False

    def note(self, error: BaseException) -> None:
        """Take note of trouble with a write: the disk may be full, whatever its numbers say."""
        self._refused = self._refused or says_full(error)

    def take_refusal(self) -> bool:
        """Return, once, whether the disk has been found full since the last call."""
        refused, self._refused = self._refused, False
        return refused
