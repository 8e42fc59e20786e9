"""What a lane is given: one settled version of one file, and where it goes."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.rows import Row

# Above this Supabase asks for resumable uploads.
STANDARD_LIMIT = 6_000_000

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

    @property
    def small(self) -> bool:
        """Return whether the version goes up in one request."""
        return self.row.version.size <= STANDARD_LIMIT


def content_type(key: str) -> str:
    """Return the MIME type that an object's name stands for."""
    suffix = key.rpartition(".")[2].lower()
    if suffix in _TEXT:
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(key)[0] or "application/octet-stream"
