"""One object into the folder: looked for there first, gone on with inside a part, proved, and only then named."""

from __future__ import annotations

import hashlib
from enum import Enum, auto
from typing import TYPE_CHECKING

from shared.clock import SystemClock
from shared.storage.errors import StorageError, Trouble
from shared.storage.reader import Reader
from shared.storage.records import ObjectRecord
from shared.storage.retry import call
from uploader.fetching.proof import proof_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from shared.storage.client import Storage
    from shared.storage.retry import Patience
    from uploader.fetching.folder import Folder
    from uploader.fetching.plan import Wanted
    from uploader.fetching.proof import Proof

# A log grows, and the optimizer's state is replaced, while a run goes on.
_VERSIONS = 5
_AGAIN = "Perhaps it was replaced meanwhile: run the command again."


class StoppedError(Exception):
    """Fetching is to stop."""


class Fetched(Enum):
    """What became of an object: it was fetched, or the folder had it already."""

    ANEW = auto()
    THERE = auto()


class Fetcher:
    """Fetches objects of one bucket, in any number of threads.

    ``arrived`` is told how many bytes more are there, negative when they were of no use; ``stop`` ends everything.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        folder: Folder,
        *,
        patience: Patience,
        stop: threading.Event,
        arrived: Callable[[int], None],
    ) -> None:
        self._reader = Reader(storage, bucket, patience=patience, stop=stop, doing="Fetching", again=_AGAIN)
        self._storage = storage
        self._bucket = bucket
        self._folder = folder
        self._patience = patience
        self._stop = stop
        self._arrived = arrived

    def fetch(self, wanted: Wanted) -> Fetched:
        """Bring an object into the folder.

        Raises StorageError where it cannot be had or is not what it should be, OSError as the disk does, and
        StoppedError.
        """
        if wanted.sha256 is not None:
            return self._version(wanted, ObjectRecord(wanted.key, wanted.size))
        for _ in range(_VERSIONS - 1):
            try:
                return self._version(wanted, self._record(wanted))
            except StorageError as error:
                if error.trouble is not Trouble.CHANGED:
                    raise
        return self._version(wanted, self._record(wanted))

    def _version(self, wanted: Wanted, record: ObjectRecord) -> Fetched:
        """Bring the version of ``record``. Raises CHANGED where another one arrives."""
        proof = proof_of(record, wanted.sha256)
        if self._is_there(wanted, record, proof):
            self._arrived(record.size)
            return Fetched.THERE
        part = self._folder.part(f"{wanted.key} {proof or (record.etag, record.version)}")
        # A part may be damaged, so that one which turns out to be wrong is no reason to give up yet.
        fresh = not part.exists()
        while not self._complete(record, proof, part):
            if fresh:
                reason = f"what arrives has another {_name(proof)} than it should have"
                raise StorageError(Trouble.CHANGED, self._reader.what(record), reason, advice=_AGAIN)
            fresh = True
        self._folder.put(part, wanted.path)
        return Fetched.ANEW

    def _complete(self, record: ObjectRecord, proof: Proof | None, part: Path) -> bool:
        """Bring what ``part`` lacks; return whether it is then the object. One that is not is removed."""
        digest = hashlib.new(proof.algorithm if proof else "sha256", usedforsecurity=False)
        with part.open("a+b") as file:
            file.seek(0)
            while block := file.read(1 << 20):
                digest.update(block)
                self._count(len(block))
            start = file.tell()

            def take(block: bytes) -> None:
                file.write(block)
                digest.update(block)
                self._count(len(block))

            try:
                self._reader.read(record, start, take)
            except StorageError as error:
                if error.trouble is Trouble.CHANGED or not file.tell():
                    part.unlink()
                    self._arrived(-file.tell())
                raise
            size = file.tell()
        if size == record.size and (proof is None or digest.hexdigest() == proof.digest):
            return True
        part.unlink()
        self._arrived(-size)
        return False

    def _is_there(self, wanted: Wanted, record: ObjectRecord, proof: Proof | None) -> bool:
        target = self._folder.target(wanted.path)
        if proof is None or not target.is_file() or target.is_symlink() or target.stat().st_size != record.size:
            return False
        return proof.holds(target)

    def _record(self, wanted: Wanted) -> ObjectRecord:
        record = call(
            lambda: self._storage.info(self._bucket, wanted.key),
            self._patience,
            clock=SystemClock(),
            wait=self._stop.wait,
        )
        if record is None:
            raise StorageError(Trouble.NOT_FOUND, f"Fetching {self._bucket}/{wanted.key}", "it is not in the bucket")
        return record

    def _count(self, count: int) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._arrived(count)


def _name(proof: Proof | None) -> str:
    return {None: "size", "sha256": "SHA-256", "md5": "MD5"}[proof.algorithm if proof else None]
