"""A copy of a file that its writer rewrites in place, taken while nobody writes to it.

A hard link would not do: it shares the bytes, and making one changes the ctime that ai-toolkit prunes and resumes by.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from shared.atomic import sync_folder
from shared.storage.errors import StorageError, Trouble
from uploader.open_files import open_for_writing
from uploader.scan import Version, version_of

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(file: Path, target: Path, version: Version) -> None:
    """Copy ``version`` of ``file`` to ``target``, whole or not at all.

    Raises StorageError(CHANGED) when the file is another version before or after the copy, or is being written;
    OSError when the disk refuses.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    try:
        _unchanged(file, version)
        shutil.copyfile(file, temporary, follow_symlinks=False)
        _unchanged(file, version)
        with temporary.open("rb") as copy:
            os.fsync(copy.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _unchanged(file: Path, version: Version) -> None:
    status = file.lstat()
    if version_of(status) != version or open_for_writing(frozenset({(status.st_dev, status.st_ino)})):
        raise StorageError(Trouble.CHANGED, f"Copying {file.name}", "it was changed meanwhile")
