"""Moving the bytes of one version to Storage so that no mixture of two versions can ever come out whole.

The last block is held back until the digest of what went before, and of that block, is the one that the version had
when it settled. A server that never gets the last block never makes an object of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from shared.behind import behind
from shared.storage.body import BytesBody, FileRange
from shared.storage.errors import StorageError, Trouble
from uploader.fingerprint import Running, Whole, read_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.behind import Behind
    from shared.storage.body import Body
    from shared.storage.records import ObjectRecord
    from uploader.courier import Courier
    from uploader.ledger import Ledger
    from uploader.parcel import Parcel

# What the hosted service asks for.
CHUNK_BYTES = 6 << 20
# An upload that expired in between starts anew; one that keeps expiring is trouble of another kind.
_MOST_STARTS = 3

T = TypeVar("T")


@dataclass(slots=True)
class Sending:
    """What one delivery has done so far: bytes that Storage took, and the MD5 of the whole version.

    ``old`` is the version that lay at the key before; None where nothing did.
    """

    bytes: int = 0
    md5: str | None = None
    old: str | None = None

    def is_new(self, record: ObjectRecord) -> bool:
        """Return whether ``record`` is of something that was not at the key before."""
        return self.old is None or record.version != self.old


def _at_once() -> None:
    """Say that a digest is taken before a block is sent."""


class _Guarded:
    """A body whose last block leaves only when the digest of everything, that block included, is the right one."""

    def __init__(self, inner: Body, digest: Running, sha256: str, caught_up: Callable[[], None] = _at_once) -> None:
        self._inner = inner
        self._digest = digest
        self._sha256 = sha256
        self._caught_up = caught_up

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._inner.size

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks. Raises StorageError (CHANGED) instead of the last one when the content is another."""
        held: bytes | None = None
        for block in self._inner.blocks():
            if held is not None:
                yield held
            held = block
        self._caught_up()
        if self._digest.sha256 != self._sha256:
            raise StorageError(Trouble.CHANGED, "Sending a file", "its content changed while it was sent")
        if held is not None:
            yield held


def send_standard(
    sender: Courier,
    parcel: Parcel,
    source: BinaryIO | Whole,
    sha256: str,
    kind: str,
    metadata: Mapping[str, str],
    sent: Sending,
) -> None:
    """Send a small version in one request. Raises StorageError."""

    def attempt() -> None:
        sender.assure()
        if isinstance(source, Whole):
            if not source.unchanged:
                raise StorageError(Trouble.CHANGED, "Sending a file", "its content changed while it was sent")
            body: Body = BytesBody(source.content, block=sender.block, throttle=sender.throttle)
            sender.put(parcel.bucket, parcel.key, body, content_type=kind, metadata=metadata)
            sent.md5 = source.md5
            return
        digest = Running()
        size = parcel.row.version.size
        body = FileRange(source, 0, size, block=sender.block, tap=digest.update, throttle=sender.throttle)
        guarded = _Guarded(body, digest, sha256)
        sender.put(parcel.bucket, parcel.key, guarded, content_type=kind, metadata=metadata)
        sent.md5 = digest.md5

    sender.retry(attempt)
    sent.bytes += parcel.row.version.size
    sender.moved(parcel.row.version.size)


def send_resumable(
    sender: Courier,
    ledger: Ledger,
    parcel: Parcel,
    file: BinaryIO,
    sha256: str,
    kind: str,
    metadata: Mapping[str, str],
    sent: Sending,
) -> ObjectRecord | None:
    """Send a large version in chunks, going on where an earlier process stopped; return the server's record of it.

    Raises StorageError.
    """
    url = parcel.row.upload_url
    for _ in range(_MOST_STARTS):
        if url is None:
            url = _create(sender, ledger, parcel, kind, metadata)
        try:
            with behind() as digests:
                return _Resumable(sender, parcel, file, sha256, url, sent, digests).run()
        except StorageError as error:
            if error.trouble is Trouble.CHANGED:
                _abandon(sender, ledger, parcel, url)
            if error.trouble is not Trouble.UPLOAD_GONE:
                raise
        record = _arrived(sender, parcel, file, sha256, sent)
        if record is not None:
            return record
        ledger.upload_url(parcel.row, None)
        url = None
    raise StorageError(Trouble.BROKEN, f"Uploading {parcel.key}", "the server forgot the upload again and again")


class _Resumable:
    """One resumable upload from the server's offset to the end."""

    def __init__(
        self,
        sender: Courier,
        parcel: Parcel,
        file: BinaryIO,
        sha256: str,
        url: str,
        sent: Sending,
        digests: Behind,
    ) -> None:
        self._sender = sender
        self._parcel = parcel
        self._file = file
        self._size = parcel.row.version.size
        self._sha256 = sha256
        self._url = url
        self._sent = sent
        self._digests = digests
        self._offset = 0
        self._digest = Running()

    def run(self) -> ObjectRecord | None:
        """Send what is missing; return the server's record. Raises StorageError; what has arrived is kept there."""
        self._go_to(self._sender.retry(self._ask))
        while self._offset < self._size:
            self._sender.retry(self._chunk)
        self._digests.catch_up()
        if self._digest.sha256 != self._sha256:
            raise StorageError(Trouble.CHANGED, "Sending a file", "its content changed while it was sent")
        self._sent.md5 = self._digest.md5
        record = self._sender.info(self._parcel)
        if record is not None and self._sent.is_new(record):
            return record
        # That everything has arrived does not prove that an object was made of it; asked once more, the server does.
        self._sender.retry(lambda: self._sender.finish(self._url, self._size))
        return self._sender.info(self._parcel)

    def _ask(self) -> int:
        return self._sender.storage.upload_offset(self._url)

    def _chunk(self) -> None:
        """Send one chunk. After an error the next attempt first asks how much has arrived."""
        self._sender.assure()
        start = self._offset
        end = min(start + CHUNK_BYTES, self._size)
        before = self._digests.then(self._digest.copy)
        body: Body = FileRange(
            self._file,
            start,
            end - start,
            block=self._sender.block,
            tap=partial(self._digests.update, self._digest),
            throttle=self._sender.throttle,
        )
        if end == self._size:
            body = _Guarded(body, self._digest, self._sha256, self._digests.catch_up)
        try:
            offset = self._sender.append(self._url, start, body)
        except StorageError as error:
            if not error.transient:
                raise
            # Nothing of this chunk is in the digest until the server has said so, which it may not do now.
            self._digest = before.result()
            offset = self._ask()
            self._count(offset)
            self._go_to(offset)
            raise
        self._count(offset)
        if offset != end:
            self._digest = before.result()
            self._go_to(offset)
        self._offset = offset
        if offset <= start:
            raise StorageError(Trouble.BROKEN, f"Uploading {self._parcel.key}", "Storage takes nothing", transient=True)

    def _count(self, offset: int) -> None:
        """Take the server's word for how much has arrived, whatever was sent."""
        if offset > self._offset:
            self._sent.bytes += offset - self._offset
            self._sender.moved(offset - self._offset)

    def _go_to(self, offset: int) -> None:
        """Go on at ``offset``, with a digest of all that lies before."""
        if offset < self._digest.length:
            self._digest = Running()
        read_into(self._digest, self._file, self._digest.length, offset, self._sender.alive)
        if self._digest.length < offset:
            raise StorageError(Trouble.CHANGED, "Sending a file", "it is shorter than what was sent of it")
        self._offset = offset


def _create(sender: Courier, ledger: Ledger, parcel: Parcel, kind: str, metadata: Mapping[str, str]) -> str:
    sender.assure()
    size = parcel.row.version.size
    upload = sender.retry(
        lambda: sender.storage.create_upload(parcel.bucket, parcel.key, size, content_type=kind, metadata=metadata)
    )
    ledger.upload_url(parcel.row, upload.url)
    return upload.url


def _abandon(sender: Courier, ledger: Ledger, parcel: Parcel, url: str) -> None:
    ledger.upload_url(parcel.row, None)
    try:
        sender.storage.terminate(url)
    except StorageError:
        # The server forgets it by itself after some hours; nothing depends on it.
        return


def _arrived(sender: Courier, parcel: Parcel, file: BinaryIO, sha256: str, sent: Sending) -> ObjectRecord | None:
    """Return the record of an upload that the server no longer knows but that became the object after all."""
    record = sender.info(parcel)
    if record is None or not sent.is_new(record):
        return None
    if record.size != parcel.row.version.size or record.metadata.get("sha256") != sha256:
        return None
    digest = Running()
    read_into(digest, file, 0, record.size, sender.alive)
    sent.md5 = digest.md5
    return record if record.md5 in {None, digest.md5} else None
