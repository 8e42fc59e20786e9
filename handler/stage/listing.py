"""What a dataset's folder in the bucket holds, and where each object goes on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from handler.stage.source import Source
    from shared.storage.records import FolderListing, ObjectRecord

# Supabase's web console keeps an empty folder alive with such an object.
_PLACEHOLDER = ".emptyFolderPlaceholder"
_LONGEST_NAME = 255
# Below a session there is room for more, but not for what the toolkit puts beside and below it; no key is longer.
_LONGEST_PATH = 1024
_DEEPEST = 64
_SHOWN = 20


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
        if problem := unsafe(item.path):
            raise FerryError(
                ErrorCode.INVALID_INPUT, f"The object {item.record.key!r} in {bucket} {problem}; rename it."
            )
    if clash := file_and_folder(item.path for item in items):
        raise FerryError(
            ErrorCode.INVALID_INPUT, f"In {bucket}, {start}{clash} is an object and a folder; rename one of them."
        )
    return items


def unsafe(path: str) -> str | None:
    """Return what keeps ``path`` from being a path below the dataset, or None."""
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        return "would not lie inside the dataset"
    if any(ord(character) < ord(" ") for character in path):
        return "has a control character in its name"
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        return f"has a name of more than {_LONGEST_NAME} bytes"
    if len(os.fsencode(path)) > _LONGEST_PATH or len(parts) > _DEEPEST:
        return f"has a path of more than {_LONGEST_PATH} bytes or {_DEEPEST} folders"
    return None


def file_and_folder(paths: Iterable[str]) -> str | None:
    """Return a path that is a file and has files below it, which a bucket can hold and a disk cannot."""
    files = frozenset(paths)
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return min(files & folders, default=None)


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
