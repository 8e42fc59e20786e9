"""Listings by the server's ``list-v2``, which tells upper from lower case and pages by cursor; v1 does neither.

A missing bucket is listed as an empty one. The caller asks for the bucket where nothing was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.storage.addresses import check_bucket
from shared.storage.failures import reading, understood
from shared.storage.records import FolderListing, ObjectRecord
from shared.storage.rows import record_of_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage3 import SyncStorageClient
    from storage3.types import SearchV2Options, SearchV2Result, SortByV2

    from shared.storage.wire import Wire

# The most that the server gives at once.
PAGE = 1000


def below(prefix: str) -> str:
    """Return what the keys inside the folder ``prefix`` begin with; the empty folder is the bucket's root."""
    stripped = prefix.strip("/")
    return f"{stripped}/" if stripped else ""


class Listing:
    """Lists the objects of buckets."""

    def __init__(self, wire: Wire, control: SyncStorageClient) -> None:
        self._wire = wire
        self._control = control

    def pages(self, bucket: str, prefix: str) -> Iterator[tuple[ObjectRecord, ...]]:
        """Yield everything below the folder ``prefix``, however deep, up to 1,000 objects at a time."""
        start = below(prefix)
        for page in self._results(bucket, start, one_level=False):
            yield tuple(record_of_row(row) for row in page.objects if row.name.startswith(start))

    def newest(self, bucket: str, start: str) -> tuple[ObjectRecord, ...]:
        """Return the objects whose keys begin with the text ``start``, the last changed first, up to 1,000 of them."""
        order: SortByV2 = {"column": "updated_at", "order": "desc"}
        page = next(self._results(bucket, start, one_level=False, order=order))
        return tuple(record_of_row(row) for row in page.objects)

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        """Return what is directly in the folder ``prefix``."""
        start = below(prefix)
        folders: dict[str, None] = {}
        files: list[ObjectRecord] = []
        for page in self._results(bucket, start, one_level=True):
            folders.update((row.name.rstrip("/").rpartition("/")[2], None) for row in page.folders)
            files.extend(record_of_row(row) for row in page.objects)
        return FolderListing(tuple(folders), tuple(files))

    def _results(
        self, bucket: str, start: str, *, one_level: bool, order: SortByV2 | None = None
    ) -> Iterator[SearchV2Result]:
        what = f"Listing {bucket}/{start}"
        check_bucket(bucket, what)
        options: SearchV2Options = {"limit": PAGE, "prefix": start, "with_delimiter": one_level}
        if order is not None:
            options["sortBy"] = order
        while True:
            with reading(what), self._wire.translated(what), understood(what):
                page = self._control.from_(bucket).list_v2(options)
            yield page
            if not page.hasNext or not page.nextCursor:
                return
            options["cursor"] = page.nextCursor
