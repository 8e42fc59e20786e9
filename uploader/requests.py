"""Wishes that commands leave for the daemon as files; a command never opens the ledger itself."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def leave(folder: Path, action: str) -> None:
    """Ask the daemon for ``action``. Raises OSError when the disk refuses."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = json.dumps({"version": 1, "action": action}).encode()
    write_atomic(folder / f"{action}-{secrets.token_hex(8)}.json", content)


def asked_for(folder: Path, action: str) -> bool:
    """Return whether ``action`` was asked for. Anything else in the folder does not matter."""
    return any(_wishes(folder, action))


def consume(folder: Path, action: str) -> bool:
    """Return whether ``action`` was asked for, and take every such wish away."""
    found = False
    for path in _wishes(folder, action):
        path.unlink(missing_ok=True)
        found = True
    return found


def _wishes(folder: Path, action: str) -> list[Path]:
    return list(folder.glob(f"{action}-*.json"))
