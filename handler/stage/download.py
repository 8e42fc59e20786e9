"""One object onto the disk: streamed, gone on with where a connection broke, and checked."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.clock import SystemClock
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from handler.stage.source import Source
    from shared.storage.records import ObjectRecord

# For how long nothing at all may arrive; whatever arrives starts the time anew.
PATIENCE = Patience(seconds=300.0)
_WRONG_CONTENTS = 3


class Downloads:
    """Downloads objects of one bucket, in any number of threads.

    ``arrived`` is told the bytes of each block and may raise to end the download; ``stop`` ends the pauses between
    attempts.
    """

    def __init__(
        self,
        source: Source,
        bucket: str,
        *,
        stop: threading.Event,
        arrived: Callable[[int], None],
        patience: Patience = PATIENCE,
    ) -> None:
        self._source = source
        self._bucket = bucket
        self._stop = stop
        self._arrived = arrived
        self._patience = patience

    def fetch(self, record: ObjectRecord, part: Path) -> None:
        """Put the object into the file ``part``.

        Raises StorageError where it cannot be had or is not what was listed, and OSError as the disk does.
        """
        for remaining in reversed(range(_WRONG_CONTENTS)):
            if self._attempt(record, part) == record.md5 or record.md5 is None:
                return
            if not remaining:
                raise StorageError(Trouble.CHANGED, self._what(record), "what arrives has another MD5 than was listed")

    def _attempt(self, record: ObjectRecord, part: Path) -> str:
        """Return the MD5 of what arrived, which is as long as it should be."""
        digest = hashlib.md5(usedforsecurity=False)
        with part.open("wb") as file:

            def take(block: bytes) -> None:
                file.write(block)
                digest.update(block)
                self._arrived(len(block))

            while file.tell() < record.size:
                call(
                    lambda: self._stream(record, file.tell(), take),
                    self._patience,
                    clock=SystemClock(),
                    wait=self._stop.wait,
                )
        return digest.hexdigest()

    def _stream(self, record: ObjectRecord, start: int, take: Callable[[bytes], None]) -> None:
        """Take what comes from byte ``start`` on; a connection that breaks after some bytes was a success, too."""
        position = start
        try:
            with self._source.open(self._bucket, record.key, start=start) as download:
                if download.size not in {None, record.size}:
                    raise self._changed(record, f"it has {download.size} bytes, but {record.size} were listed")
                for block in download.blocks():
                    position += len(block)
                    if position > record.size:
                        raise self._changed(record, f"it has more than the {record.size} bytes that were listed")
                    take(block)
        except StorageError as error:
            if position == start or not error.transient:
                raise
        if position == start:
            raise StorageError(Trouble.UNREACHABLE, self._what(record), "nothing arrives")

    def _changed(self, record: ObjectRecord, how: str) -> StorageError:
        return StorageError(
            Trouble.CHANGED, self._what(record), how, advice="It was changed meanwhile; send the job again."
        )

    def _what(self, record: ObjectRecord) -> str:
        return f"Staging {self._bucket}/{record.key}"
