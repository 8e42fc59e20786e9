"""One handler and one uploader for each root on one machine. Between machines the claim in the bucket decides."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import ValidationError

from shared.contract.process import ProcessIdentity, find, identify, same_machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.clock import Deadline

_ASK_AGAIN_SECONDS = 0.5


@contextmanager
def alone(
    role: str,
    folders: Sequence[Path],
    deadline: Deadline | None,
    wait: Callable[[float], bool],
    waiting: Callable[[Path], None],
) -> Iterator[bool]:
    """Hold the lock of ``role`` on all ``folders``; yields False when another process kept one until ``deadline``.

    The lock files lie on the machine's own disk, because locks on shared volumes have been seen to get stuck.
    ``wait`` sleeps for seconds and returns True to stop; ``waiting`` is called once for a folder that is taken.
    The lock ends with the process, however that ends.
    """
    descriptors: list[int] = []
    try:
        # Each once, since a lock excludes its own holder, too, and in one order, so that no two wait for each other.
        files = {_file(role, folder): folder for folder in folders}
        yield all(_lock(file, files[file], descriptors, deadline, wait, waiting) for file in sorted(files))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(
    file: Path,
    folder: Path,
    descriptors: list[int],
    deadline: Deadline | None,
    wait: Callable[[float], bool],
    waiting: Callable[[Path], None],
) -> bool:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    descriptors.append(descriptor)
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _evict_heirs(descriptor)
            if not told:
                waiting(folder)
                told = True
            if (deadline is not None and deadline.passed()) or wait(_ASK_AGAIN_SECONDS):
                return False
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, identify().model_dump_json().encode(), 0)
            return True


def _evict_heirs(descriptor: int) -> None:
    """End the processes that hold the lock only because its owner was killed and they had inherited it.

    The SDK's ping process is one: after a SIGKILL of the handler it would go on claiming the old job for ever.
    """
    owner = _owner(descriptor)
    if owner is None or not same_machine(owner) or find(owner) is not None:
        return
    lock = os.fstat(descriptor)
    for process in psutil.process_iter():
        # Looked at again for each, because meanwhile another may have got the lock by rights.
        if process.pid != os.getpid() and _holds(process.pid, lock) and _owner(descriptor) == owner:
            with suppress(psutil.Error):
                process.kill()


def _owner(descriptor: int) -> ProcessIdentity | None:
    try:
        return ProcessIdentity.model_validate_json(os.pread(descriptor, 4096, 0))
    except ValidationError:
        return None


def _holds(pid: int, lock: os.stat_result) -> bool:
    """Return whether process ``pid`` has the lock, not merely the file: others may be waiting for it."""
    process = Path(f"/proc/{pid}")
    try:
        for descriptor in (process / "fd").iterdir():
            file = descriptor.stat()
            if (file.st_dev, file.st_ino) == (lock.st_dev, lock.st_ino):
                return "FLOCK" in (process / "fdinfo" / descriptor.name).read_text()
    except OSError:
        return False
    return False


def _file(role: str, folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return Path(tempfile.gettempdir()) / f"ferry-{role}-{os.getuid()}-{name}.lock"
