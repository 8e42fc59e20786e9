"""Proving that what was sent is in the bucket, by the server's own record of it.

One object is asked for by itself. Of many small ones that have gone up one after another, a single listing of what
changed last tells at once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.storage.errors import StorageError, Trouble
from uploader.claim import ClaimLostError
from uploader.courier import StoppedError
from uploader.paths import printable
from uploader.results import Delivered, Sent, Stopped, result_of
from uploader.rows import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.clock import Clock
    from shared.storage.records import ObjectRecord
    from uploader.courier import Courier
    from uploader.ledger import Ledger
    from uploader.parcel import Parcel
    from uploader.results import Verdict
    from uploader.rows import Row

# So few are asked for one by one, which tells more of each.
FEW = 2


class Prover:
    """Compares what one run has sent with the server's records."""

    def __init__(self, sender: Courier, ledger: Ledger, clock: Clock) -> None:
        self._sender = sender
        self._ledger = ledger
        self._clock = clock

    def prove(self, batch: Sequence[Sent]) -> list[Verdict]:
        """Return what came of each of ``batch``, in its order. Never raises."""
        try:
            listed = self._listed(batch) if len(batch) > FEW else {}
        except StorageError as error:
            return [result_of(error, moved=True)] * len(batch)
        except (StoppedError, ClaimLostError):
            return [Stopped()] * len(batch)
        return [self._verdict(sent, listed.get(sent.parcel.key)) for sent in batch]

    def proved(self, sent: Sent, record: ObjectRecord | None) -> Delivered:
        """Return the proof. Raises StorageError (BROKEN) when ``record`` is not one of what was sent."""
        if record is None or not _is_of(record, sent):
            if not sent.parcel.small:
                self._ledger.upload_url(sent.parcel.row, None)
            what = f"Verifying {sent.parcel.key}"
            raise StorageError(Trouble.BROKEN, what, "the server's record does not match what was sent")
        return self.delivered(sent, record)

    def arrived(self, parcel: Parcel, session_id: str) -> Delivered | None:
        """Return the proof that the version of ``parcel`` was sent by this session, and all of it arrived.

        Who sent it was killed before that could be noted, and with its file gone nothing is left to compare the
        server's record with, but the object itself. Raises StorageError.
        """
        record, row = self._sender.info(parcel), parcel.row
        wanted = {"path": printable(row.path), "session": session_id, "mtime": mtime_of(row)}
        if record is None or record.size != row.version.size or not wanted.items() <= record.metadata.items():
            return None
        sha256 = self._sender.retry(lambda: self._downloaded(parcel))
        if sha256 != record.metadata.get("sha256"):
            return None
        return self.delivered(Sent(parcel, sha256, None, None, 0), record)

    def _downloaded(self, parcel: Parcel) -> str:
        digest = hashlib.sha256()
        with self._sender.storage.open(parcel.bucket, parcel.key) as download:
            for block in download.blocks():
                self._sender.alive()
                digest.update(block)
        return digest.hexdigest()

    def delivered(self, sent: Sent, record: ObjectRecord) -> Delivered:
        """Return what the ledger is to remember of ``record``."""
        row = sent.parcel.row
        stored = Stored(
            sha256=sent.sha256,
            size=row.version.size,
            mtime=row.version.mtime,
            version=record.version,
            step=row.step,
            at=self._clock.now(),
        )
        return Delivered(stored, sent.bytes)

    def _verdict(self, sent: Sent, record: ObjectRecord | None) -> Verdict:
        try:
            if record is None or record.md5 is None:
                # A listing tells neither an object's version nor its metadata, by which alone it could be known then.
                record = self._sender.info(sent.parcel)
            return self.proved(sent, record)
        except (StoppedError, ClaimLostError):
            return Stopped()
        except StorageError as error:
            return result_of(error, moved=True)

    def _listed(self, batch: Sequence[Sent]) -> Mapping[str, ObjectRecord]:
        """Return what one listing tells of ``batch``, by key; nothing where the server cannot list like that."""
        start = _common_start([sent.parcel.key for sent in batch])
        bucket = batch[0].parcel.bucket
        try:
            found = self._sender.retry(lambda: self._sender.storage.newest(bucket, start))
        except StorageError as error:
            if error.transient:
                raise
            return {}
        return {record.key: record for record in found}


def _common_start(keys: Sequence[str]) -> str:
    first, last = min(keys), max(keys)
    different = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(different, len(first))]


def _is_of(record: ObjectRecord, sent: Sent) -> bool:
    if record.size != sent.parcel.row.version.size:
        return False
    if record.md5 is not None:
        return record.md5 == sent.md5
    return record.metadata.get("sha256") == sent.sha256 and record.version != sent.old


def mtime_of(row: Row) -> str:
    """Return the time of a version as its object's metadata tells it."""
    return f"{row.version.mtime:.6f}"
