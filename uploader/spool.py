"""The spool: copies of files that must outlive the originals, in the run's own folder.

The copy of a checkpoint (``.kept``) has a note beside it that says what it is, so that it finds its way even if the
ledger is lost. The optimizer's copy (``.copy``) needs none: its original is still there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from shared.atomic import sync_folder, write_atomic
from uploader.allowance import stock_of
from uploader.kinds import OPTIMIZER, Kind
from uploader.rows import Settled
from uploader.scan import Version, version_of
from uploader.settle import Proof

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from uploader.allowance import Stock
    from uploader.rows import Row

KEPT = ".kept"
_COPY = ".copy"
_NOTE = ".json"
_NOTE_VERSION = 1
_BLOCK = 1 << 20
# Linux's ioctl by which a file shares another's bytes. It changes the new file alone, not the other's ctime.
_FICLONE = 0x40049409


class NotClonedError(Exception):
    """The file system cannot let two files share their bytes."""


class Spool:
    """The copies of one run. Methods raise OSError when the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def used(self) -> Stock:
        """Return what the finished copies take."""
        sizes = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith((KEPT, _COPY)) and not entry.name.startswith("."):
                    with suppress(FileNotFoundError):
                        sizes.append(entry.stat(follow_symlinks=False).st_size)
        return stock_of(sizes)

    def path(self, name: str) -> Path:
        """Return where the copy called ``name`` lies."""
        return self._folder / name

    def optimizer(self, row: Row) -> Path:
        """Return where the copy of this version of the optimizer's state lies, or would lie."""
        return self._folder / _optimizer_name(row)

    def only(self, row: Row) -> None:
        """Remove copies of other versions of the optimizer's state in ``row``."""
        copy = self.optimizer(row)
        for other in self._folder.glob(f"*-{_mark(row.path)}{_COPY}"):
            if other != copy:
                other.unlink(missing_ok=True)

    def forget_optimizer(self, flying: Collection[str]) -> int:
        """Remove the copies of the optimizer's state unless it is being sent; return their bytes."""
        if any(path.rpartition("/")[2] == OPTIMIZER for path in flying):
            return 0
        freed = 0
        for path in self._folder.glob(f"*{_COPY}"):
            freed += path.stat().st_size
            path.unlink(missing_ok=True)
        return freed

    def discard(self, row: Row) -> None:
        """Remove the copy of the version in ``row``, whichever there is. A disk that refuses is left alone."""
        with suppress(OSError):
            self.optimizer(row).unlink(missing_ok=True)
            self.remove(kept_name(row))

    def remove(self, name: str) -> None:
        """Remove the checkpoint's copy called ``name``, then its note."""
        self.path(name).unlink(missing_ok=True)
        self.path(name + _NOTE).unlink(missing_ok=True)

    def kept(self) -> list[tuple[str, Settled | None]]:
        """Return the checkpoints' copies by name, and what their notes say; a note that cannot be read says None."""
        names = sorted(path.name for path in self._folder.glob(f"*{KEPT}") if not path.name.startswith("."))
        return [(name, _read_note(self.path(name + _NOTE), name)) for name in names]

    def sweep(self, optimizers: Iterable[Row]) -> None:
        """Remove what an interrupted copy or delivery left. None may be under way. ``optimizers`` still wait."""
        for path in (*self._folder.glob(".*"), *self._folder.glob(f"*{KEPT}{_NOTE}")):
            if path.name.startswith(".") or not path.with_suffix("").exists():
                path.unlink(missing_ok=True)
        wanted = {self.optimizer(row) for row in optimizers}
        for path in self._folder.glob(f"*{_COPY}"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def keep(self, row: Row, descriptor: int, alive: Callable[[], None], *, clone_only: bool = False) -> str | None:
        """Copy the version in ``row`` durably, from ``descriptor``, which is closed; return the copy's name.

        Returns None when the file is another version. ``clone_only`` asks for a copy that takes no room and raises
        NotClonedError where there is none. ``alive`` is called now and then and may raise to stop.
        """
        name = kept_name(row)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=f".{name}.", dir=self._folder, delete=False) as target:
                try:
                    _fill(target, descriptor, row.version.size, alive, clone_only=clone_only)
                    os.fsync(target.fileno())
                    if not _is_whole(target.fileno(), descriptor, row.version):
                        return None
                    # The note comes first: a copy without one would be nobody's if the ledger were lost.
                    write_atomic(self.path(name + _NOTE), _note(row))
                    Path(target.name).replace(self.path(name))
                finally:
                    Path(target.name).unlink(missing_ok=True)
            sync_folder(self._folder)
        finally:
            os.close(descriptor)
        return name


def names_of(row: Row) -> frozenset[str]:
    """Return what may lie in the spool for the version in ``row``."""
    kept = kept_name(row)
    return frozenset({kept, kept + _NOTE, _optimizer_name(row)})


def _optimizer_name(row: Row) -> str:
    return f"{row.version.mtime_ns}-{row.version.size}-{_mark(row.path)}{_COPY}"


def kept_name(row: Row) -> str:
    """Return what the copy of this version of a checkpoint is called."""
    version = row.version
    return f"{version.mtime_ns}-{version.size}-{version.inode}-{_mark(row.path)}{KEPT}"


def _mark(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _fill(target: IO[bytes], source: int, size: int, alive: Callable[[], None], *, clone_only: bool) -> None:
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source)
    except OSError as error:
        if clone_only:
            raise NotClonedError from error
    else:
        return
    while target.tell() < size:
        alive()
        block = os.pread(source, min(_BLOCK, size - target.tell()), target.tell())
        if not block:
            break
        target.write(block)
    target.flush()


def _is_whole(copy: int, original: int, version: Version) -> bool:
    return os.fstat(copy).st_size == version.size and version_of(os.fstat(original)) == version


def _note(row: Row) -> bytes:
    settled = Settled(row.path, row.kind, row.key, row.proof, row.version, row.step)
    return json.dumps({"note": _NOTE_VERSION, **asdict(settled)}).encode()


def _read_note(file: Path, source: str) -> Settled | None:
    try:
        told = json.loads(file.read_bytes())
        if told["note"] != _NOTE_VERSION:
            return None
        step = told["step"]
        return Settled(
            path=str(told["path"]),
            kind=Kind(told["kind"]),
            key=str(told["key"]),
            proof=Proof(told["proof"]),
            version=Version(**{name: int(value) for name, value in told["version"].items()}),
            step=None if step is None else int(step),
            source=source,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
