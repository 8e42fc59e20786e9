"""One server a folder: a second one would sweep away what the first is still writing."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold the folder during the block. Raises OSError if another server has it; a killed one has let go."""
    with (folder / "server.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another server uses {folder}") from None
        yield
