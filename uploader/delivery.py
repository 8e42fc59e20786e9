"""Bringing one settled version of one file into the bucket.

Runs in a lane. Whatever happens, it ends in one of the results and never raises.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from shared import folders
from shared.storage.body import BLOCK
from shared.storage.errors import StorageError, Trouble
from uploader.claim import ClaimLostError
from uploader.courier import StoppedError
from uploader.fingerprint import Whole, both_of, sha256_of
from uploader.kinds import INCOMPLETE, Kind
from uploader.parcel import content_type
from uploader.paths import printable
from uploader.proving import Prover, mtime_of
from uploader.results import Changed, Delivered, Later, Refused, Sent, Stopped, Vanished, result_of
from uploader.scan import strange, version_of
from uploader.sending import Sending, send_resumable, send_standard
from uploader.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from shared.clock import Clock
    from shared.storage.records import ObjectRecord
    from uploader.courier import Courier
    from uploader.ledger import Ledger
    from uploader.parcel import Parcel
    from uploader.results import Result, Verdict
    from uploader.rows import Row
    from uploader.run import Run

# Storage is asked whether it takes files of such a size before they are read: a sparse file may claim to be a terabyte.
_WORTH_ASKING = 1 << 30

# A volume that stutters comes back within some minutes.
_MOST_MISREADINGS = 8


class _StrangeError(Exception):
    """Something that is no regular file has taken its place; the text says what."""


class _TornFolderError(Exception):
    """The file says that its folder is whole, which it is not in the bucket."""


class Deliverer:
    """Delivers parcels of one run. Thread-safe: the lanes share one."""

    def __init__(self, run: Run, sender: Courier, ledger: Ledger, clock: Clock) -> None:
        self._run = run
        self._sender = sender
        self._ledger = ledger
        self._prover = Prover(sender, ledger, clock)

    def prove(self, batch: Sequence[Sent]) -> list[Verdict]:
        """Return what came of each small version that was sent, in their order."""
        return self._prover.prove(batch)

    def deliver(self, parcel: Parcel) -> Result:
        """Bring ``parcel`` into the bucket; a large one is proved to be there, a small one only sent."""
        sent = Sending()
        try:
            return self._deliver(parcel, sent)
        except (StoppedError, ClaimLostError):
            return Stopped()
        except (FileNotFoundError, NotADirectoryError):
            return self._vanished(parcel)
        except _StrangeError as error:
            return Refused(f"it is {error}, which cannot be carried")
        except _TornFolderError:
            return Refused("it says that its folder is whole, and other files of that folder are not in the bucket")
        except PermissionError:
            return Refused("it cannot be read: its permissions do not allow it")
        except OSError as error:
            if error.errno == errno.ELOOP:
                return Refused("it is a symbolic link, which cannot be carried")
            reason = f"it could not be read: {error.strerror or error}"
            return Later(reason, most_attempts=_MOST_MISREADINGS, unread=True)
        except StorageError as error:
            return result_of(error, moved=sent.bytes > 0)
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
            whole = Whole(file, row.version.size) if row.version.size <= BLOCK else None
            sha256 = whole.sha256 if whole else row.sha256 or sha256_of(file, row.version.size, self._sender.alive)
            if not _is_version(file, parcel, source):
                return Changed()
            if not parcel.small:
                # A small one is read again as fast as this is made durable.
                self._ledger.hashed(row, sha256)
            unsealed = row.stored if seal is None else None
            if unsealed is not None and (unsealed.sha256, unsealed.size) == (sha256, row.version.size):
                return Delivered(unsealed, 0)
            sent.old, there = self._already_there(parcel, file, sha256, seal)
            if there is not None:
                return self._prover.delivered(Sent(parcel, sha256, None, sent.old, 0), there)
            if row.stored is not None:
                self._ledger.doubt(row.key)
            return self._send(parcel, whole or file, _about(self._run, row, sha256, seal), sent)

    def _vanished(self, parcel: Parcel) -> Result:
        """Return what there is to say of a version whose file is gone; it may have arrived before."""
        try:
            return self._prover.arrived(parcel, self._run.session_id) or Vanished()
        except (StoppedError, ClaimLostError):
            return Stopped()
        except StorageError as error:
            return result_of(error, moved=False)

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
        self, parcel: Parcel, file: BinaryIO | Whole, about: Mapping[str, str], sent: Sending
    ) -> Sent | Delivered:
        kind, sha256 = content_type(parcel.key), about["sha256"]
        if isinstance(file, Whole) or parcel.small:
            send_standard(self._sender, parcel, file, sha256, kind, about, sent)
            return Sent(parcel, sha256, sent.md5, sent.old, sent.bytes)
        record = send_resumable(self._sender, self._ledger, parcel, file, sha256, kind, about, sent)
        return self._prover.proved(Sent(parcel, sha256, sent.md5, sent.old, sent.bytes), record)

    def _already_there(
        self, parcel: Parcel, file: BinaryIO, sha256: str, seal: str | None
    ) -> tuple[str | None, ObjectRecord | None]:
        """Return the version that lies at the key now, and its record when it is what is to be delivered.

        Small files ask only where there is reason to believe so: the listing that this ledger began with knows an
        object of their size, an earlier attempt may have arrived, or nobody knows which version lies there.
        """
        row = parcel.row
        if parcel.small and not _may_be_there(parcel):
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


def _about(run: Run, row: Row, sha256: str, seal: str | None) -> Mapping[str, str]:
    """Return what an object says of itself: from this a lost ledger is made anew."""
    about = {
        "sha256": sha256,
        "mtime": mtime_of(row),
        "path": printable(row.path),
        "session": run.session_id,
    }
    if row.step is not None:
        about["step"] = str(row.step)
    if seal is not None:
        about[folders.SEAL] = seal
    return about


def _may_be_there(parcel: Parcel) -> bool:
    row = parcel.row
    nameless = row.stored is not None and row.stored.version is None
    return nameless or row.attempts > 0 or (parcel.known is not None and parcel.known[0] == row.version.size)


@contextmanager
def _open(path: Path, held: int | None) -> Iterator[BinaryIO]:
    if held is not None:
        # Another file may lie in its place by now: this is the version that was settled.
        descriptor = os.dup(held)
    else:
        # Neither a link nor a FIFO that was put in the file's place is followed or waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        what = strange(os.fstat(descriptor).st_mode)
        if what is not None:
            raise _StrangeError(what)
        with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        # Some volumes open a file and then tell nothing of it.
        os.close(descriptor)


def _is_version(file: BinaryIO, parcel: Parcel, source: Path) -> bool:
    now, wanted = version_of(os.fstat(file.fileno())), parcel.row.version
    if source == parcel.spool:
        return now.size == wanted.size
    if parcel.growing:
        return now.inode == wanted.inode and now.size >= wanted.size
    return now == wanted
