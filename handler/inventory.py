"""What lies in the output folder, so that what a run wrote can be told from what was there before it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from shared.contract.document import Document
from shared.patience import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.layout import SessionFolder


class Mark(NamedTuple):
    """What changes when a file is written again: size in bytes, mtime in nanoseconds, inode."""

    size: int
    mtime_ns: int
    inode: int


class Inventory(Document):
    """``output.before.json``: the files of the output folder, by relative path, before a trainer started."""

    files: dict[str, Mark] = Field(default_factory=dict)

    def changed(self, after: Inventory) -> frozenset[str]:
        """Return the files of ``after`` that are new or were written again since this inventory."""
        return frozenset(path for path, mark in after.files.items() if self.files.get(path) != mark)


def take_inventory(output: Path) -> Inventory:
    """Return what lies in ``output`` now. Links are not followed; files that vanish meanwhile are left out.

    So is what may not be looked at. Raises OSError where the disk does not let one look, which may pass.
    """
    return Inventory(files=dict(_marks(output)))


def before_file(session: SessionFolder) -> Path:
    """Return where the inventory from before the start is kept, for a handler that takes the run over."""
    return session.path / "output.before.json"


def _marks(output: Path) -> Iterator[tuple[str, Mark]]:
    # Not os.walk, which before Python 3.12 calls itself for each folder that lies in another.
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(output / folder))
        except OSError as error:
            if may_pass(error):
                raise
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                if may_pass(error):
                    raise
                continue
            # Names are bytes, and documents are Unicode.
            shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            yield shown, Mark(status.st_size, status.st_mtime_ns, status.st_ino)
