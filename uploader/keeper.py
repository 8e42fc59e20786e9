"""Holding on to checkpoints that wait: the trainer deletes its old ones, delivered or not.

What waits is held open, so that a deletion takes away only the name. What has lost its name is copied to the spool, so
that it outlives this process, too. A hard link would need no copy, but it changes the ctime that ai-toolkit prunes and
resumes by.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.atomic import sync_folder
from shared.log import EventLog
from uploader.lanes import Desk
from uploader.paths import printable
from uploader.scan import version_of

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.lanes import Lanes
    from uploader.ledger import Ledger
    from uploader.rows import Row
    from uploader.run import Run
    from uploader.scan import Version

# So many files are held open; a run that has more to wait for has lost its line to Storage for very long.
MOST_HELD = 64

# Neither a link nor a FIFO is followed or waited for.
_READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_SUFFIX = ".kept"

log = EventLog("uploader")


@dataclass(frozen=True, slots=True)
class _Held:
    row: Row
    descriptor: int


class Keeper:
    """The waiting checkpoints of one run. ``limit`` is the bytes that the spool may take."""

    def __init__(self, run: Run, ledger: Ledger, lanes: Lanes, limit: int) -> None:
        self._run = run
        self._ledger = ledger
        self._limit = limit
        self._held: dict[str, _Held] = {}
        self._desk: Desk[str | None] = Desk(lanes)
        self._copying: _Held | None = None
        self._refused: set[str] = set()
        self._sweep()

    def keep(self) -> None:
        """Take hold of what waits, let go of what does not, and have copied what has lost its name."""
        self._take_copy()
        waiting = {row.path: row for row in self._ledger.waiting_checkpoints(MOST_HELD) if row.source is None}
        for path, held in list(self._held.items()):
            if held is not self._copying and (path not in waiting or waiting[path].version != held.row.version):
                del self._held[path]
                os.close(held.descriptor)
        for path, row in waiting.items():
            if path not in self._held:
                self._hold(row)
        self._copy_next()

    def descriptor(self, row: Row) -> int | None:
        """Return a descriptor of the version in ``row``, to be closed by the caller; None when it is not held."""
        held = self._held.get(row.path)
        return os.dup(held.descriptor) if held is not None and held.row.version == row.version else None

    def close(self) -> None:
        """Let go of everything. Nothing depends on this having been called."""
        for held in self._held.values():
            if held is not self._copying:
                os.close(held.descriptor)
        self._held.clear()

    def _hold(self, row: Row) -> None:
        try:
            descriptor = os.open(self._run.output / row.path, _READING)
        except OSError:
            # Its delivery will say what is wrong with it.
            return
        if version_of(os.fstat(descriptor)) == row.version:
            self._held[row.path] = _Held(row, descriptor)
        else:
            os.close(descriptor)

    def _copy_next(self) -> None:
        if self._copying is not None:
            return
        nameless = (held for held in self._held.values() if os.fstat(held.descriptor).st_nlink == 0)
        held = next((held for held in nameless if held.row.path not in self._refused), None)
        if held is None:
            return
        if self._used() + held.row.version.size > self._limit:
            self._refused.add(held.row.path)
            log.warning("spool_full", session=self._run.session_id, path=printable(held.row.path))
            return
        self._copying = held
        self._desk.start(lambda: copy(held.descriptor, held.row.version, self._run.spool))

    def _take_copy(self) -> None:
        future, held = self._desk.take(), self._copying
        if future is None or held is None:
            return
        self._copying = None
        try:
            name = future.result()
        except OSError as error:
            self._refused.add(held.row.path)
            log.warning(
                "not_spooled", session=self._run.session_id, path=printable(held.row.path), reason=error.strerror
            )
            return
        if name is not None:
            self._ledger.spooled(held.row, name)
            log.info("spooled", session=self._run.session_id, path=printable(held.row.path))

    def _sweep(self) -> None:
        """Remove copies that no file in the ledger knows: their making was interrupted, or their delivery recorded."""
        known = self._ledger.sources()
        with suppress(OSError):
            for path in self._run.spool.glob(f"*{_SUFFIX}"):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def _used(self) -> int:
        with suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in self._run.spool.iterdir())
        return 0


def copy(descriptor: int, version: Version, folder: Path) -> str | None:
    """Copy an open file to ``folder``, durably; return the copy's name, or None when it is another version.

    Raises OSError when the disk refuses.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{version.mtime_ns}-{version.size}-{version.inode}{_SUFFIX}"
    temporary = folder / f".{name}"
    try:
        with open(f"/proc/self/fd/{descriptor}", "rb") as source, temporary.open("wb") as target:  # noqa: PTH123
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        if version_of(os.fstat(descriptor)) != version or temporary.stat().st_size != version.size:
            return None
        temporary.replace(folder / name)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)
    return name
