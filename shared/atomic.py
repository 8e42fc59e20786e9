"""Files that are either the old one or the new one, never a half: temp, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def write_atomic(path: Path, content: bytes, mode: int = 0o600, unless: Callable[[], bool] | None = None) -> None:
    """Replace ``path`` by ``content`` so that a reader, or a crash at any point, sees the old or the new whole.

    The temporary file lies beside the target with a leading dot, so that no scan takes it for a finished one.
    ``unless`` is asked at the last moment, with everything on the disk but the name: if it holds, the old one stays.
    Raises OSError when the disk refuses; the old file is then still in place.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        if unless is not None and unless():
            temporary.unlink()
            return
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and creations in ``folder`` durable: without this a crash may bring back the old name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
