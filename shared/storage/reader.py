"""An object from some byte on to its end, over as many connections as that takes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from shared.clock import SystemClock
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from shared.storage.records import ObjectRecord


class Incoming(Protocol):
    """An object that is coming in. ``size`` is the whole object's, in bytes, ``etag`` the mark of its content.

    Either is None where the server does not say.
    """

    size: int | None
    etag: str | None

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes. Raises StorageError where the connection breaks."""
        ...


class Opens(Protocol):
    """What opens objects for reading; the Storage client is one. It raises StorageError and retries nothing."""

    def open(self, bucket: str, key: str, *, start: int = 0) -> AbstractContextManager[Incoming]:
        """Hold an object open for reading from byte ``start`` on."""
        ...


class Reader:
    """Reads objects of one bucket, in any number of threads.

    ``patience`` is for how long nothing at all may arrive: whatever arrives starts it anew. ``stop`` ends the pauses
    between attempts. ``doing`` names the work in an error, and ``again`` says what to do when an object has changed.
    """

    def __init__(
        self, source: Opens, bucket: str, *, patience: Patience, stop: threading.Event, doing: str, again: str
    ) -> None:
        self._source = source
        self._bucket = bucket
        self._patience = patience
        self._stop = stop
        self._doing = doing
        self._again = again

    def read(self, record: ObjectRecord, start: int, take: Callable[[bytes], None]) -> None:
        """Give ``take`` every byte of the object from ``start`` on, in order; it may raise to end the reading.

        Raises StorageError: CHANGED where the object has another size than ``record``, or is replaced meanwhile, else
        what nothing helped against.
        """
        position, etag = start, None
        while position < record.size:
            position, etag = call(
                partial(self._stream, record, position, etag, take),
                self._patience,
                clock=SystemClock(),
                wait=self._stop.wait,
            )

    def what(self, record: ObjectRecord) -> str:
        """Return what is being done, for an error's sentence."""
        return f"{self._doing} {self._bucket}/{record.key}"

    def _stream(
        self, record: ObjectRecord, start: int, etag: str | None, take: Callable[[bytes], None]
    ) -> tuple[int, str | None]:
        """Take what comes and return where it ended, and its mark, which is to be ``etag`` where that is known.

        A connection that breaks after some bytes was a success, too.
        """
        position = start
        try:
            with self._source.open(self._bucket, record.key, start=start) as download:
                if download.size not in {None, record.size}:
                    raise self._changed(record, f"it has {download.size} bytes, but {record.size} were listed")
                if etag is not None and download.etag not in {None, etag}:
                    raise self._changed(record, "it was replaced while it was read")
                etag = download.etag
                for block in download.blocks():
                    position += len(block)
                    if position > record.size:
                        raise self._changed(record, f"it has more than the {record.size} bytes that were listed")
                    take(block)
        except StorageError as error:
            if position == start or not error.transient:
                raise
        if position == start:
            raise StorageError(Trouble.UNREACHABLE, self.what(record), "nothing arrives")
        return position, etag

    def _changed(self, record: ObjectRecord, how: str) -> StorageError:
        return StorageError(Trouble.CHANGED, self.what(record), how, advice=self._again)
