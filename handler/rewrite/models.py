"""Models: hub ids and files of the image or the volume stay as they are; a model may also come with the dataset."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from handler.rewrite.match import Matcher
    from shared.layout import SessionFolder

_ABSOLUTE = re.compile(r"/|[A-Za-z]:[/\\]")
# Linux's own limit, in bytes.
_LONGEST_PATH = 4096
_MODEL_FILE = re.compile(r"(?:\./)?[^/\\]+\.(?:safetensors|ckpt|pt|pth|bin|gguf)")


@dataclass(frozen=True, slots=True)
class Models:
    """Decides about the model paths of one configuration. ``toolkit`` is what ai-toolkit takes relative paths from."""

    session: SessionFolder
    toolkit: Path
    matcher: Matcher

    def staged(self, text: str) -> str | None:
        """Return what ``text`` means in the staged tree, or None where it is to stay.

        Raises ValueError where it may not be read, and AmbiguousPathError.
        """
        path = _location(text)
        if ".." in re.split(r"[/\\]", path):
            raise ValueError("must not hold ..")
        there = str(self.toolkit / path)
        refuse_foreign(there, self.session)
        if "|" in text or not _is_file_path(path) or os.path.exists(there):  # noqa: PTH110 - Path.exists raises for some
            return None
        found = self.matcher.file(path)
        return self.matcher.folder(path) if found is None else found

    def is_missing(self, text: str) -> bool:
        """Return whether ``text`` is a path, and nothing is there."""
        path = _location(text)
        return bool(_ABSOLUTE.match(path)) and not os.path.exists(path)  # noqa: PTH110 - Path.exists raises for some


def refuse_foreign(path: str, session: SessionFolder) -> None:
    """Raise ValueError where the absolute ``path`` leads to what no job may read. Links are followed.

    That is other jobs' sessions, and ``/proc``, where the variables of the worker's own processes can be read.
    """
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise ValueError("is longer than a path can be")
    real, own = os.path.realpath(path), os.path.realpath(session.path)
    if _within(real, "/proc"):
        raise ValueError("points into the worker's processes")
    if _within(real, os.path.dirname(own)) and not _within(real, own):  # noqa: PTH120 - of a path without links
        raise ValueError("points into another session")
    if os.path.exists(real) and not os.path.isfile(real) and not os.path.isdir(real):  # noqa: PTH110, PTH112, PTH113
        raise ValueError("is neither a file nor a folder")


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _location(text: str) -> str:
    """Return the path in ``text``. ai-toolkit writes ``uint4|repository/file`` for a quantization with an adapter."""
    return text.rpartition("|")[2].strip()


def _is_file_path(path: str) -> bool:
    return bool(_ABSOLUTE.match(path) or _MODEL_FILE.fullmatch(path))
