"""Bringing one settled version of one file into the bucket, and proving that it is there.

Runs in a lane. Whatever happens, it ends in one of the outcomes below and never raises.
"""

from __future__ import annotations

import errno
import mimetypes
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from shared import folders
from shared.storage.errors import StorageError, Trouble
from uploader.claim import ClaimLostError
from uploader.courier import StoppedError
from uploader.fingerprint import both_of, sha256_of
from uploader.kinds import INCOMPLETE, Kind
from uploader.paths import printable
from uploader.rows import Stored
from uploader.scan import strange, version_of
from uploader.sending import Sending, send_resumable, send_standard
from uploader.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.clock import Clock
    from shared.storage.records import ObjectRecord
    from uploader.courier import Courier
    from uploader.ledger import Ledger
    from uploader.rows import Row
    from uploader.run import Run

# Above this Supabase asks for resumable uploads.
STANDARD_LIMIT = 6_000_000

# Storage is asked whether it takes files of such a size before they are read: a sparse file may claim to be a terabyte.
_WORTH_ASKING = 1 << 30

_EVERYBODYS = frozenset({Trouble.DENIED, Trouble.BUCKET_NOT_FOUND})
_FOR_GOOD = frozenset({Trouble.TOO_LARGE, Trouble.WRONG_TYPE, Trouble.INVALID_KEY})
_MOST_REFUSALS = 3
# A volume that stutters comes back within some minutes.
_MOST_MISREADINGS = 8

_TEXT = frozenset({"log", "txt", "out", "err", "yaml", "yml"})


@dataclass(frozen=True, slots=True)
class Parcel:
    """A version to deliver: its row, where its bytes are, where they go, and how it may change meanwhile.

    ``growing``: only bytes are added, so the version is a prefix. ``spool`` is where a copy lies, or is put first
    because the writer rewrites the file in place. ``held`` is a descriptor of the version, should its name be gone or
    another file's; it belongs to the parcel. ``known`` is what lay at the key when the ledger was made (size, eTag).
    """

    row: Row
    file: Path
    bucket: str
    key: str
    growing: bool = False
    spool: Path | None = None
    held: int | None = None
    known: tuple[int, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server's own record says that the version is there. ``sent`` bytes crossed the line for it."""

    stored: Stored
    sent: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The file is no longer the version that was settled; it will be settled anew."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file was deleted before it could be sent."""


@dataclass(frozen=True, slots=True)
class Later:
    """It did not work now. ``server_down`` says that no other file need try; ``moved``: some bytes arrived.

    ``most_attempts``: after so many it is given up, since a server that answers other questions still refuses it.
    """

    reason: str
    server_down: bool = False
    moved: bool = False
    retry_after: float | None = None
    most_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work until someone acts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The uploader is stopping, or may no longer write here: nothing was decided about the file."""


class _StrangeError(Exception):
    """Something that is no regular file has taken its place; the text says what."""


class _TornFolderError(Exception):
    """The file says that its folder is whole, which it is not in the bucket."""


Result = Stopped | Delivered | Changed | Vanished | Later | Refused


class Deliverer:
    """Delivers parcels of one run. Thread-safe: the lanes share one."""

    def __init__(self, run: Run, sender: Courier, ledger: Ledger, clock: Clock) -> None:
        self._run = run
        self._sender = sender
        self._ledger = ledger
        self._clock = clock

    def deliver(self, parcel: Parcel) -> Result:
        """Bring ``parcel`` into the bucket and verify it by the server's record."""
        sent = Sending()
        try:
            return self._deliver(parcel, sent)
        except (StoppedError, ClaimLostError):
            return Stopped()
        except (FileNotFoundError, NotADirectoryError):
            return Vanished()
        except _StrangeError as error:
            return Refused(f"it is {error}, which cannot be carried")
        except _TornFolderError:
            return Refused("it says that its folder is whole, and other files of that folder are not in the bucket")
        except PermissionError:
            return Refused("it cannot be read: its permissions do not allow it")
        except OSError as error:
            if error.errno == errno.ELOOP:
                return Refused("it is a symbolic link, which cannot be carried")
            return Later(f"it could not be read: {error.strerror or error}", most_attempts=_MOST_MISREADINGS)
        except StorageError as error:
            return _result(error, sent)
        finally:
            if parcel.held is not None:
                os.close(parcel.held)

    def _deliver(self, parcel: Parcel, sent: Sending) -> Result:
        row = parcel.row
        seal = self._seal(row)
        if row.sha256 is None and row.version.size >= _WORTH_ASKING:
            self._ask_for_room(parcel)
        source = self._source(parcel)
        with _open(source, parcel.held) as file:
            if not _is_version(file, parcel, source):
                return Changed()
            sha256 = row.sha256 or sha256_of(file, row.version.size, self._sender.alive)
            if not _is_version(file, parcel, source):
                return Changed()
            self._ledger.hashed(row, sha256)
            unsealed = row.stored if seal is None else None
            if unsealed is not None and (unsealed.sha256, unsealed.size) == (sha256, row.version.size):
                return Delivered(unsealed, 0)
            old, there = self._already_there(parcel, file, sha256, seal)
            if there is None:
                self._ledger.doubt(row.key)
                there = self._verified(parcel, self._send(parcel, file, sha256, seal, sent), sha256, sent, old)
            return Delivered(self._stored(parcel, sha256, there), sent.bytes)

    def _seal(self, row: Row) -> str | None:
        """Return what the file that completes a checkpoint's folder says of the others; None for any other file.

        Raises _TornFolderError where one of them did not come into the bucket.
        """
        if not folders.completes(row.path) or row.kind is not Kind.CHECKPOINT or row.key.startswith(f"{INCOMPLETE}/"):
            return None
        others = self._ledger.delivered_beside(row.path)
        if others is None:
            raise _TornFolderError
        return folders.seal({printable(path): sha256 for path, sha256 in others.items()})

    def _ask_for_room(self, parcel: Parcel) -> None:
        """Raise StorageError (TOO_LARGE) where Storage would refuse the file in the end."""
        size, kind = parcel.row.version.size, content_type(parcel.key)
        if not self._sender.retry(lambda: self._sender.storage.takes(parcel.bucket, size, kind)):
            what = f"Uploading {parcel.bucket}/{parcel.key}"
            raise StorageError(Trouble.TOO_LARGE, what, f"Storage takes no file of {size} bytes")

    def _source(self, parcel: Parcel) -> Path:
        if parcel.spool is None:
            return parcel.file
        if not parcel.spool.exists():
            try:
                snapshot(parcel.file, parcel.spool, parcel.row.version)
            except FileNotFoundError:
                raise
            except OSError as error:
                what = f"Copying {parcel.spool.name}"
                raise StorageError(Trouble.BROKEN, what, f"{error.strerror or error}", transient=True) from error
        return parcel.spool

    def _send(
        self, parcel: Parcel, file: BinaryIO, sha256: str, seal: str | None, sent: Sending
    ) -> ObjectRecord | None:
        row = parcel.row
        metadata = {
            "sha256": sha256,
            "mtime": f"{row.version.mtime:.6f}",
            "path": printable(row.path),
            "session": self._run.session_id,
        }
        if row.step is not None:
            metadata["step"] = str(row.step)
        if seal is not None:
            metadata[folders.SEAL] = seal
        kind = content_type(parcel.key)
        if row.version.size <= STANDARD_LIMIT:
            return send_standard(self._sender, parcel, file, sha256, kind, metadata, sent)
        return send_resumable(self._sender, self._ledger, parcel, file, sha256, kind, metadata, sent)

    def _already_there(
        self, parcel: Parcel, file: BinaryIO, sha256: str, seal: str | None
    ) -> tuple[str | None, ObjectRecord | None]:
        """Return the version that lies at the key now, and its record when it is what is to be delivered.

        Small files ask only when the listing that this ledger began with knows an object of their size.
        """
        row = parcel.row
        small = row.version.size <= STANDARD_LIMIT
        if small and (parcel.known is None or parcel.known[0] != row.version.size):
            return row.stored.version if row.stored else None, None
        record = self._sender.info(parcel)
        if record is None:
            return None, None
        told = record.metadata
        same = (
            record.size == row.version.size
            and told.get("sha256") == sha256
            and told.get(folders.SEAL) == seal
            # What another training left is no part of this one, though it be the same.
            and self._run.is_own(told.get("session"))
        )
        if same and record.md5 is not None:
            same = record.md5 == both_of(file, row.version.size, self._sender.alive).md5
        return record.version, record if same else None

    def _verified(
        self, parcel: Parcel, record: ObjectRecord | None, sha256: str, sent: Sending, old: str | None
    ) -> ObjectRecord:
        """Return ``record`` when it proves that what was sent is there; raise StorageError (BROKEN) otherwise."""
        size = parcel.row.version.size
        if record is not None and record.size == size:
            if record.md5 is not None and record.md5 == sent.md5:
                return record
            if record.md5 is None and record.metadata.get("sha256") == sha256 and record.version != old:
                return record
        self._ledger.upload_url(parcel.row, None)
        raise StorageError(
            Trouble.BROKEN, f"Verifying {parcel.key}", "the server's record does not match what was sent"
        )

    def _stored(self, parcel: Parcel, sha256: str, record: ObjectRecord) -> Stored:
        row = parcel.row
        return Stored(
            sha256=sha256,
            size=row.version.size,
            mtime=row.version.mtime,
            version=record.version,
            step=row.step,
            at=self._clock.now(),
        )


def content_type(key: str) -> str:
    """Return the MIME type that an object's name stands for."""
    suffix = key.rpartition(".")[2].lower()
    if suffix in _TEXT:
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


@contextmanager
def _open(path: Path, held: int | None) -> Iterator[BinaryIO]:
    if held is not None:
        # Another file may lie in its place by now: this is the version that was settled.
        descriptor = os.dup(held)
    else:
        # Neither a link nor a FIFO that was put in the file's place is followed or waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    what = strange(os.fstat(descriptor).st_mode)
    if what is not None:
        os.close(descriptor)
        raise _StrangeError(what)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file


def _is_version(file: BinaryIO, parcel: Parcel, source: Path) -> bool:
    now, wanted = version_of(os.fstat(file.fileno())), parcel.row.version
    if source == parcel.spool:
        return now.size == wanted.size
    if parcel.growing:
        return now.inode == wanted.inode and now.size >= wanted.size
    return now == wanted


def _result(error: StorageError, sent: Sending) -> Result:
    if error.trouble is Trouble.CHANGED:
        return Changed()
    moved = sent.bytes > 0
    if error.trouble in _EVERYBODYS:
        # A wrong key or a missing bucket is not this file's fault, unless Storage is content with everything else.
        return Later(error.sentence, server_down=True, moved=moved, most_attempts=_MOST_REFUSALS)
    if error.transient:
        down = error.trouble in {Trouble.UNREACHABLE, Trouble.BUSY}
        return Later(error.sentence, server_down=down, moved=moved, retry_after=error.retry_after)
    if error.trouble in _FOR_GOOD:
        return Refused(error.sentence)
    # No answer to an upload that may overwrite: the server, or what stands before it, is confused, and seldom for long.
    return Later(error.sentence, most_attempts=_MOST_REFUSALS)
