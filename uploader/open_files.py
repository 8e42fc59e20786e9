"""Which files are being written right now, as the kernel tells it under ``/proc``.

A descriptor or a shared writable mapping counts. What belongs to processes of other users cannot be seen without
privilege, so the answer is worth something only where the trainer itself can be seen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")

FileId = tuple[int, int]
"""Device and inode."""


def can_see(pid: int, proc: Path = PROC) -> bool:
    """Return whether process ``pid`` lives and this process may look at the files that it holds open.

    A process that has been killed loses its files a moment before it is seen to be dead; one that lives has some.
    """
    try:
        with os.scandir(proc / str(pid) / "fd") as descriptors:
            return next(descriptors, None) is not None
    except OSError:
        return False


def open_for_writing(wanted: frozenset[FileId], proc: Path = PROC) -> frozenset[FileId]:
    """Return those of ``wanted`` that some process other than this one holds open for writing."""
    if not wanted:
        return frozenset()
    own = str(os.getpid())
    found: set[FileId] = set()
    for entry in proc.iterdir():
        if entry.name.isdecimal() and entry.name != own:
            found.update(_descriptors(entry, wanted))
            found.update(_mappings(entry, {inode for _, inode in wanted}, wanted))
    return frozenset(found)


def _descriptors(process: Path, wanted: frozenset[FileId]) -> Iterator[FileId]:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            status = descriptor.stat()
            file = (status.st_dev, status.st_ino)
            if file in wanted and _writes((process / "fdinfo" / descriptor.name).read_text()):
                yield file
        except OSError:
            continue


def _writes(information: str) -> bool:
    for line in information.splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return int(value, 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _mappings(process: Path, inodes: set[int], wanted: frozenset[FileId]) -> Iterator[FileId]:
    try:
        lines = (process / "maps").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split(maxsplit=5)
        if fields[1][1] == "w" and fields[1][3] == "s" and int(fields[4]) in inodes:
            yield from (file for file in wanted if file[1] == int(fields[4]))
