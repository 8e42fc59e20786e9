"""Wishes that commands leave for the daemon as files; a command never opens the ledger itself."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def leave(folder: Path, action: str) -> None:
    """Ask the daemon for ``action``. Raises OSError when the disk refuses."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = json.dumps({"version": 1, "action": action}).encode()
    write_atomic(folder / f"{action}-{secrets.token_hex(8)}.json", content)


def asked_for(folder: Path, action: str) -> bool:
    """Return whether ``action`` was asked for. Anything else in the folder does not matter."""
    return bool(wishes(folder, action))


def wishes(folder: Path, action: str) -> list[Path]:
    """Return every wish for ``action`` that is there now."""
    return list(folder.glob(f"{action}-*.json"))


def take_away(granted: Iterable[Path]) -> None:
    """Take wishes away. They must have been granted durably before, else a kill in between would lose them."""
    for path in granted:
        path.unlink(missing_ok=True)
