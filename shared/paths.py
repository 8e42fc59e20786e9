"""Which names that others chose may become files below a folder of ours. Pure rules, for keys and archives alike."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_NAME = 255
# Below a folder of ours there is room for more, but not for what others put beside and below it; no key is longer.
_LONGEST_PATH = 1024
_DEEPEST = 64


def unsafe(path: str, folder: str) -> str | None:
    """Return what keeps ``path``, with ``/`` between its parts, from being one below ``folder`` (as people call it)."""
    parts = path.split("/")
    if path.startswith("/") or any(part in {"", ".", ".."} for part in parts):
        return f"would not lie inside {folder}"
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
