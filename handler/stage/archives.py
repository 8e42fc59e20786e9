"""Zip archives, unpacked so that nothing in one reaches outside, fills the disk, or passes for something else."""

from __future__ import annotations

import io
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from handler.stage.listing import DATASET
from shared.errors import ErrorCode, FerryError
from shared.paths import file_and_folder, unsafe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

MAX_MEMBERS = 200_000
# An archive's list of so many members with names of a usual length. zipfile holds all of it in memory, twenty times.
MAX_DIRECTORY_BYTES = 32 << 20
# Pictures hardly shrink, captions by far less than this; below a gigabyte nobody is harmed by a bomb.
MAX_RATIO = 100
_HARMLESS_BYTES = 1 << 30
_BLOCK = 1 << 20
_ENCRYPTED = 0x1
_UTF8 = 0x800
# What zipfile and the decompressors raise for bytes that somebody has made up.
_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, OverflowError, LookupError),
)


def unpack(archive: Path, name: str, into: Path, check: Callable[[], None]) -> tuple[str, ...]:
    """Unpack ``archive``, called ``name`` to people, into the empty folder ``into``; return the paths of its files.

    ``check`` is called between blocks and may raise. Raises FerryError for an archive that is broken or not safe.
    """
    with archive.open("rb", buffering=0) as raw, _Archive(raw) as file:
        with _understood(name):
            opened = zipfile.ZipFile(file)
        members = safe_members(opened.infolist(), name, file.size)
        _check_room(members.values(), name, into)
        for path, member in members.items():
            _extract(opened, member, into / path, name, check)
    return tuple(members)


class _Archive(io.BufferedReader):
    """A file that refuses to be read in one piece that only an endless list of members can be."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self.size = raw.seek(0, io.SEEK_END)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes. Raises BadZipFile instead of too many at once."""
        if (self.size - self.tell() if size is None or size < 0 else size) > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size)


@contextmanager
def _understood(name: str) -> Iterator[None]:
    """Turn what the libraries say of an archive's bytes into one sentence about the archive."""
    try:
        yield
    except RuntimeError as error:
        raise _refused(name, f"cannot be unpacked ({error}); pack it with the usual compression") from None
    except _BROKEN as error:
        raise _refused(name, f"is no zip archive, or a broken one ({error})") from None


def safe_members(members: Iterable[zipfile.ZipInfo], name: str, packed: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files to unpack by path. ``packed`` is the archive's size in bytes. Raises FerryError."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        path = _path(member)
        if path.endswith("/") or _is_clutter(path):
            continue
        _check_member(member, path, name)
        if found.setdefault(path, member) is not member:
            raise _refused(name, f"holds {path!r} twice")
    if len(found) > MAX_MEMBERS:
        raise _refused(name, f"holds more than {MAX_MEMBERS} files")
    if clash := file_and_folder(found):
        raise _refused(name, f"holds {clash!r} as a file and as a folder")
    size = sum(member.file_size for member in found.values())
    if size > max(_HARMLESS_BYTES, MAX_RATIO * packed):
        raise _refused(name, f"would grow to {size} bytes, more than {MAX_RATIO} times its size")
    return found


def _path(member: zipfile.ZipInfo) -> str:
    """Return the member's name. Without the flag for UTF-8 it was read as DOS's; many tools mean UTF-8 all the same."""
    path = member.filename
    if not member.flag_bits & _UTF8:
        try:
            path = path.encode("cp437").decode("utf-8")
        except UnicodeError:
            path = member.filename
    return path.replace("\\", "/")


def _is_clutter(path: str) -> bool:
    """Return whether a path is what macOS adds, or hidden."""
    parts = path.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") and part not in {".", ".."} for part in parts)


def _check_member(member: zipfile.ZipInfo, path: str, name: str) -> None:
    if problem := unsafe(path, DATASET):
        raise _refused(name, f"holds {path!r}, which {problem}")
    if len(path) > 1 and path[1] == ":":
        raise _refused(name, f"holds {path!r}, which would not lie inside {DATASET}")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise _refused(name, f"holds {path!r}, which is a link or a device and no file")
    if member.flag_bits & _ENCRYPTED:
        raise _refused(name, "is encrypted; upload it without a password")


def _check_room(members: Iterable[zipfile.ZipInfo], name: str, into: Path) -> None:
    size = sum(member.file_size for member in members)
    free = shutil.disk_usage(into).free
    if size > free:
        raise FerryError(
            ErrorCode.DISK_FULL, f"The archive {name} needs {size} bytes unpacked, but the disk has {free} left."
        )


def _extract(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, name: str, check: Callable[[], None]
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        for block in _blocks(opened, member, name):
            check()
            file.write(block)


def _blocks(opened: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    # zipfile stops at the size that the archive declares and compares the checksum, so that a lie is noticed.
    with _understood(name):
        packed = opened.open(member)
    with packed:
        while True:
            with _understood(name):
                block = packed.read(_BLOCK)
            if not block:
                return
            yield block


def _refused(name: str, problem: str) -> FerryError:
    return FerryError(ErrorCode.INVALID_INPUT, f"The archive {name} {problem}.")
