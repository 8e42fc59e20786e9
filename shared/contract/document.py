"""The base of every exchanged file: versioned, written whole, read with tolerance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Record(BaseModel):
    """A frozen part of a document. Fields that a reader does not know are ignored, so that versions can meet."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(Record):
    """A whole file. ``VERSION`` is what this code writes and understands."""

    VERSION: ClassVar[int] = 1

    version: int = Field(default=1, description="the version of this form")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the document at ``path``; None where there is none, or one that this code does not understand."""
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return cls.parse(content)

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Return the document in ``content``, or None when it is no such document or of another version."""
        try:
            raw = json.loads(content)
        except ValueError:
            return None
        if not isinstance(raw, dict) or raw.get("version") != cls.VERSION:
            return None
        try:
            return cls.model_validate(raw)
        except ValidationError:
            return None

    def dump(self) -> bytes:
        """Return the document as UTF-8 JSON."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def write(self, path: Path, unless: Callable[[], bool] | None = None) -> None:
        """Put the document at ``path``, atomically, unless ``unless`` holds. Raises OSError when the disk refuses."""
        write_atomic(path, self.dump(), unless=unless)
