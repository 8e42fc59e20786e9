"""One uploader for each root on one machine. Between machines the claim decides, not a lock on a shared volume."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.clock import Deadline

_ASK_AGAIN_SECONDS = 0.5


@contextmanager
def alone(
    folders: Sequence[Path], deadline: Deadline | None, wait: Callable[[float], bool], waiting: Callable[[Path], None]
) -> Iterator[bool]:
    """Hold the lock on every one of ``folders``; yields False when another uploader kept one until ``deadline``.

    ``wait`` sleeps for seconds and returns True to stop; ``waiting`` is called once for a folder that is taken.
    The lock ends with the process, however that ends.
    """
    descriptors: list[int] = []
    try:
        yield all(_lock(folder, descriptors, deadline, wait, waiting) for folder in folders)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(
    folder: Path,
    descriptors: list[int],
    deadline: Deadline | None,
    wait: Callable[[float], bool],
    waiting: Callable[[Path], None],
) -> bool:
    descriptor = os.open(_file(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    descriptors.append(descriptor)
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                waiting(folder)
                told = True
            if (deadline is not None and deadline.passed()) or wait(_ASK_AGAIN_SECONDS):
                return False
        else:
            return True


def _file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return Path(tempfile.gettempdir()) / f"ferry-uploader-{os.getuid()}-{name}.lock"
