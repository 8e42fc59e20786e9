"""One object onto the disk: streamed, gone on with where a connection broke, and checked."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.storage.errors import StorageError, Trouble
from shared.storage.reader import Reader
from shared.storage.retry import Patience

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from shared.storage.reader import Opens
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
        source: Opens,
        bucket: str,
        *,
        stop: threading.Event,
        arrived: Callable[[int], None],
        patience: Patience = PATIENCE,
    ) -> None:
        again = "It was changed meanwhile; send the job again."
        self._reader = Reader(source, bucket, patience=patience, stop=stop, doing="Staging", again=again)
        self._arrived = arrived

    def fetch(self, record: ObjectRecord, part: Path) -> None:
        """Put the object into the file ``part``.

        Raises StorageError where it cannot be had or is not what was listed, and OSError as the disk does.
        """
        for remaining in reversed(range(_WRONG_CONTENTS)):
            if self._attempt(record, part) == record.md5 or record.md5 is None:
                return
            if not remaining:
                what = self._reader.what(record)
                raise StorageError(Trouble.CHANGED, what, "what arrives has another MD5 than was listed")

    def _attempt(self, record: ObjectRecord, part: Path) -> str:
        """Return the MD5 of what arrived, which is as long as it should be."""
        digest = hashlib.md5(usedforsecurity=False)
        with part.open("wb") as file:

            def take(block: bytes) -> None:
                file.write(block)
                digest.update(block)
                self._arrived(len(block))

            self._reader.read(record, 0, take)
        return digest.hexdigest()
