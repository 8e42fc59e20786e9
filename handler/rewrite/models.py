"""Models: hub ids and files of the image or the volume stay as they are; a model may also come with the dataset."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handler.rewrite.match import Matcher
    from shared.layout import SessionFolder

_ABSOLUTE = re.compile(r"/|[A-Za-z]:[/\\]")
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
        if points_into_other_session(str(self.toolkit / path), self.session):
            raise ValueError("points into another session")
        if "|" in text or not _is_file_path(path) or (self.toolkit / path).exists():
            return None
        found = self.matcher.file(path)
        return self.matcher.folder(path) if found is None else found

    def is_missing(self, text: str) -> bool:
        """Return whether ``text`` is a path, and nothing is there."""
        return bool(_ABSOLUTE.match(_location(text))) and not Path(_location(text)).exists()


def points_into_other_session(path: str, session: SessionFolder) -> bool:
    """Return whether ``path`` lies where the sessions are, but not in this one. Links are followed."""
    real, own = os.path.realpath(path), os.path.realpath(session.path)
    return _within(real, os.path.dirname(own)) and not _within(real, own)  # noqa: PTH120 - of a path without links


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _location(text: str) -> str:
    """Return the path in ``text``. ai-toolkit writes ``uint4|repository/file`` for a quantization with an adapter."""
    return text.rpartition("|")[2].strip()


def _is_file_path(path: str) -> bool:
    return bool(_ABSOLUTE.match(path) or _MODEL_FILE.fullmatch(path))
