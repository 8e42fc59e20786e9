"""The runs that this machine's files tell of, for commands that only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.session import Session
from shared.layout import sessions
from uploader.run import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def states(root: Path, watch: Path | None) -> Iterator[Path]:
    """Yield the folders that hold an ``upload.json``, or will: sessions first, then the runs of a watched folder."""
    for folder in sessions(root):
        yield folder.path
    if watch is not None and (watch / STATE_FOLDER).is_dir():
        yield from sorted(path for path in (watch / STATE_FOLDER).iterdir() if path.is_dir())


def places(root: Path) -> Iterator[tuple[str, str]]:
    """Yield bucket and prefix of every session under ``root``."""
    for folder in sessions(root):
        session = Session.read(folder.session_file)
        if session is not None:
            yield session.bucket, session.prefix
