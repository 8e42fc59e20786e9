"""One object onto the disk: streamed, gone on with where a connection broke, and checked."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from shared.behind import behind
from shared.storage.errors import StorageError, Trouble
from shared.storage.reader import Reader
from shared.storage.retry import Patience

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from handler.stage.source import Source
    from shared.storage.records import ObjectRecord

# For how long nothing at all may arrive; whatever arrives starts the time anew.
PATIENCE = Patience(seconds=300.0)
# What is not larger is held in memory, and comes in one piece.
SMALL = 1 << 20
# Nobody removes or replaces what has just been listed: once, such an answer is rather a proxy's than Storage's.
ODD = frozenset({Trouble.CHANGED, Trouble.NOT_FOUND})
_TRIES = 3
_AGAIN = "Perhaps it was changed meanwhile: send the job again."


class Downloads:
    """Downloads objects of one bucket, in any number of threads.

    ``arrived`` is told the bytes of each block and may raise to end the download; ``stop`` ends the pauses between
    attempts. ``tries``: how often an object may be missing or another than was listed, before that is believed.
    """

    def __init__(
        self,
        source: Source,
        bucket: str,
        *,
        stop: threading.Event,
        arrived: Callable[[int], None],
        patience: Patience = PATIENCE,
        tries: int = _TRIES,
    ) -> None:
        self._reader = Reader(source, bucket, patience=patience, stop=stop, doing="Staging", again=_AGAIN)
        self._source = source
        self._bucket = bucket
        self._arrived = arrived
        self._stop = stop
        self._pause_seconds = patience.first
        self._tries = tries

    def fetch(self, record: ObjectRecord, part: Path) -> None:
        """Put the object into the file ``part``.

        Raises StorageError where it cannot be had or is not what was listed, and OSError as the disk does.
        """
        content = self._at_once(record) if 0 < record.size <= SMALL else None
        if content is not None:
            self._arrived(len(content))
            _write(part, content)
            return
        for _ in range(self._tries - 1):
            try:
                self._attempt(record, part)
            except StorageError as error:
                if error.trouble not in ODD:
                    raise
                self._stop.wait(self._pause_seconds)
            else:
                return
        self._attempt(record, part)

    def _at_once(self, record: ObjectRecord) -> bytes | None:
        """Return a small object that comes whole and right at the first attempt, as nearly all do.

        None for one that does not: whatever the trouble is, the patient way finds it out.
        """
        try:
            content = self._source.read(self._bucket, record.key, limit=record.size)
        except StorageError:
            return None
        if content is None or len(content) != record.size:
            return None
        right = record.md5 is None or hashlib.md5(content, usedforsecurity=False).hexdigest() == record.md5
        return content if right else None

    def _attempt(self, record: ObjectRecord, part: Path) -> None:
        digest = hashlib.md5(usedforsecurity=False)
        with part.open("wb") as file, behind() as digesting:

            def take(block: bytes) -> None:
                digesting.update(digest, block)
                file.write(block)
                self._arrived(len(block))

            self._reader.read(record, 0, take)
            digesting.catch_up()
        if record.md5 not in {None, digest.hexdigest()}:
            reason = f"what arrives has the MD5 {digest.hexdigest()}, but {record.md5} was listed"
            raise StorageError(Trouble.CHANGED, self._reader.what(record), reason, advice=_AGAIN)


def _write(path: Path, content: bytes) -> None:
    """Write a file in one call of the system where it can: with thousands of small ones, each call counts."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
