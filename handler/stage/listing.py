"""What a dataset's folder in the bucket holds, and where each object goes on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError
from shared.paths import file_and_folder, unsafe

if TYPE_CHECKING:
    from handler.stage.source import Source
    from shared.storage.records import FolderListing, ObjectRecord

# Supabase's web console keeps an empty folder alive with such an object.
_PLACEHOLDER = ".emptyFolderPlaceholder"
_SHOWN = 20
# What people call the folder that everything is staged into.
DATASET = "the dataset"


@dataclass(frozen=True, slots=True)
class Item:
    """An object to stage: its record, and its path relative to the dataset."""

    record: ObjectRecord
    path: str

    @property
    def is_archive(self) -> bool:
        """Return whether the object is to be unpacked."""
        return self.path.lower().endswith(".zip")


def list_items(source: Source, bucket: str, folder: str) -> tuple[Item, ...]:
    """Return what is to be staged of ``folder``, which has no slashes around it.

    Raises FerryError where there is nothing, saying what is in the folder's parent, and where a key is no safe path.
    """
    records = list(source.walk(bucket, folder))
    start = f"{folder}/" if folder else ""
    items = tuple(
        Item(record, record.key.removeprefix(start))
        for record in records
        if not record.key.endswith("/") and PurePosixPath(record.key).name != _PLACEHOLDER
    )
    if not items:
        raise _nothing(source, bucket, folder, exists=bool(records))
    for item in items:
        if problem := unsafe(item.path, DATASET):
            raise FerryError(
                ErrorCode.INVALID_INPUT, f"The object {item.record.key!r} in {bucket} {problem}; rename it."
            )
    if clash := file_and_folder(item.path for item in items):
        raise FerryError(
            ErrorCode.INVALID_INPUT, f"In {bucket}, {start}{clash} is an object and a folder; rename one of them."
        )
    return items


def _nothing(source: Source, bucket: str, folder: str, *, exists: bool) -> FerryError:
    code = ErrorCode.DATASET_EMPTY if exists or not folder else ErrorCode.DATASET_NOT_FOUND
    if not folder:
        return FerryError(code, f"The dataset is empty: the bucket {bucket} holds no files. Upload them first.")
    parent = folder.rpartition("/")[0]
    what = "holds no files" if exists else "does not exist"
    within = f"The folder {parent!r} around it" if parent else "The bucket's root"
    listing = _described(source.folder(bucket, parent))
    return FerryError(code, f"The dataset folder {folder!r} in the bucket {bucket} {what}. {within} holds {listing}.")


def _described(listing: FolderListing) -> str:
    names = [f"{name}/" for name in sorted(listing.folders)]
    names += sorted(PurePosixPath(record.key).name for record in listing.files)
    names = [name for name in names if name != _PLACEHOLDER]
    more = len(names) - _SHOWN
    return (", ".join(names[:_SHOWN]) or "nothing") + (f" and {more} more" if more > 0 else "")
