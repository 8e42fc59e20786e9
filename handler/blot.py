"""Blots out the secrets that a trainer prints, in its raw output.

``trainer.out`` is written by the trainer itself, so that it outlives this process. What lies in it already is
overwritten in place, by as many asterisks: no offset moves, and what the trainer appends meanwhile lies behind.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Blot:
    """Looks through one file as it is read, from its beginning or from where an earlier process had come to."""

    def __init__(self, file: Path, secrets: Iterable[str]) -> None:
        self._file = file
        self._secrets = sorted((secret.encode() for secret in secrets), key=len, reverse=True)
        # So much of what has been read may be the beginning of a secret whose end is yet to come.
        self._overlap = max(map(len, self._secrets), default=1) - 1
        self._read = b""

    def out(self, data: bytes, start: int) -> bytes:
        """Return ``data``, read at byte ``start`` right behind what was read before, without the secrets in it.

        They are gone from the file, too, unless the disk refuses.
        """
        raw = self._read + data
        clean = raw
        for secret in self._secrets:
            clean = clean.replace(secret, b"*" * len(secret))
        if clean != raw:
            self._overwrite(clean, start - len(self._read))
        self._read = clean[len(clean) - min(self._overlap, len(clean)) :]
        return clean[len(clean) - len(data) :]

    def _overwrite(self, content: bytes, start: int) -> None:
        with suppress(OSError):
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.pwrite(descriptor, content, start)
            finally:
                os.close(descriptor)
