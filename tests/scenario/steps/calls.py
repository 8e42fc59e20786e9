"""Which system calls of Linux on x86-64 change what is on a disk, and which file they are about.

The numbers are those of the kernel's ``arch/x86/entry/syscalls/syscall_64.tbl``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_AT_FDCWD = -100
# What is chance, a number or a version in a file's name says nothing about what the file is.
_CHANCE = re.compile(r"(?<=\.(?:json|kept)\.)\w{8}$|\d+-\d+-[0-9a-f]+(?=\.)|(?<=[._])\d+\b")


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: its name, and which argument holds a descriptor or a path (after that of its folder)."""

    name: str
    descriptor: int | None = None
    path: int | None = None
    folder: int | None = None


OPEN, CREAT, OPENAT = 2, 85, 257
CALLS = {
    1: Call("write", descriptor=0),
    18: Call("pwrite64", descriptor=0),
    20: Call("writev", descriptor=0),
    40: Call("sendfile", descriptor=0),
    74: Call("fsync", descriptor=0),
    75: Call("fdatasync", descriptor=0),
    76: Call("truncate", path=0),
    77: Call("ftruncate", descriptor=0),
    82: Call("rename", path=1),
    83: Call("mkdir", path=0),
    84: Call("rmdir", path=0),
    86: Call("link", path=1),
    87: Call("unlink", path=0),
    88: Call("symlink", path=1),
    90: Call("chmod", path=0),
    91: Call("fchmod", descriptor=0),
    258: Call("mkdirat", folder=0, path=1),
    263: Call("unlinkat", folder=0, path=1),
    264: Call("renameat", folder=2, path=3),
    265: Call("linkat", folder=2, path=3),
    266: Call("symlinkat", folder=1, path=2),
    268: Call("fchmodat", folder=0, path=1),
    277: Call("sync_file_range", descriptor=0),
    285: Call("fallocate", descriptor=0),
    296: Call("pwritev", descriptor=0),
    316: Call("renameat2", folder=2, path=3),
    326: Call("copy_file_range", descriptor=2),
    328: Call("pwritev2", descriptor=0),
    452: Call("fchmodat2", folder=0, path=1),
    OPEN: Call("create", path=0),
    CREAT: Call("create", path=0),
    OPENAT: Call("create", folder=0, path=1),
}
"""The calls that are followed. Of opening only what creates or empties a file is."""

CREATING = os.O_CREAT | os.O_TRUNC


def target(pid: int, call: Call, arguments: Sequence[int]) -> Path:
    """Return the file that ``call``, about to be made by the stopped thread ``pid``, would change."""
    if call.descriptor is not None:
        return _opened(pid, arguments[call.descriptor])
    if call.path is None:
        raise ValueError(f"{call.name} names no file")
    path = Path(os.fsdecode(_text(pid, arguments[call.path])))
    if path.is_absolute():
        return path
    folder = _AT_FDCWD if call.folder is None else _signed(arguments[call.folder])
    base = Path(f"/proc/{pid}/cwd").readlink() if folder == _AT_FDCWD else _opened(pid, folder)
    return base / path


def label(call: Call, path: Path, root: Path) -> str:
    """Return what a step is, the same for every run: the call and the file's kind."""
    return f"{call.name} {_CHANCE.sub('#', path.relative_to(root).as_posix())}"


def _opened(pid: int, descriptor: int) -> Path:
    try:
        return Path(f"/proc/{pid}/fd/{descriptor & 0xFFFFFFFF}").readlink()
    except OSError:
        # The call will fail by itself.
        return Path("/")


def _text(pid: int, address: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - read like this, it is no file
        text = b""
        while b"\0" not in text:
            # A page at a time: the next one may not be there.
            memory.seek(address + len(text))
            text += memory.read(4096 - (address + len(text)) % 4096)
    return text.partition(b"\0")[0]


def _signed(value: int) -> int:
    return (value & 0xFFFFFFFF) - (1 << 32) if value & 0x80000000 else value & 0xFFFFFFFF
