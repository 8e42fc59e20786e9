"""The folder that a run is fetched into. Nothing is written outside it, whatever keys and links say."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.atomic import write_atomic
from shared.contract.bucket import MANIFEST, STATUS, Manifest, Status
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from pathlib import Path

PARTS = ".fetch"


class Folder:
    """A folder and, hidden in it, the parts of what has not arrived whole yet.

    Raises FerryError where the folder cannot be made.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sentence = f"{root} cannot be the folder to fetch into: {error.strerror}."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence) from error
        self.root = root.resolve()

    def target(self, path: str) -> Path:
        """Return where the object of ``path`` goes. Raises FerryError where a symbolic link would lead it outside."""
        target = self.root / path
        if not target.parent.resolve().is_relative_to(self.root):
            sentence = f"{target.parent} leads out of {self.root} by a symbolic link: remove it, or fetch elsewhere."
            raise FerryError(ErrorCode.INVALID_INPUT, sentence)
        return target

    def part(self, version: str) -> Path:
        """Return where the part of an object is kept; ``version`` tells it from every other, older ones included."""
        name = hashlib.sha256(version.encode("utf-8", "surrogatepass")).hexdigest()
        part = self.target(f"{PARTS}/{name}")
        part.parent.mkdir(exist_ok=True)
        return part

    def put(self, part: Path, path: str) -> None:
        """Give a whole part its name. Raises OSError as the disk does."""
        with part.open("rb") as content:
            os.fsync(content.fileno())
        target = self.target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)

    def withdraw(self, document: bytes | None) -> None:
        """Take away what was fetched of another run's manifest, or of this one's before: it would be a false one.

        Raises FerryError where a file of that name is none of ours.
        """
        for name, kind in ((MANIFEST, Manifest), (STATUS, Status)):
            with suppress(FileNotFoundError):
                content = self.target(name).read_bytes()
                if kind.parse(content) is None:
                    sentence = f"{self.target(name)} is something else than a run's: fetch into another folder."
                    raise FerryError(ErrorCode.INVALID_INPUT, sentence)
                if content != document:
                    self.target(name).unlink()

    def keep(self, name: str, document: bytes) -> None:
        """Put the manifest, or ``status.json``, beside what it tells of: last, as in the bucket."""
        write_atomic(self.target(name), document)

    def tidy(self) -> None:
        """Remove the parts: everything is whole, so what is left are parts of older versions."""
        shutil.rmtree(self.root / PARTS, ignore_errors=True)
