"""Whether an earlier handler may have left anything unfinished: most have not, and then no more has to be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.trainer import live_trainers
from shared.contract.session import Phase, Session
from shared.layout import sessions, taken_file

if TYPE_CHECKING:
    from pathlib import Path

    from shared.layout import SessionFolder


def is_any_open(root: Path, worker: str) -> bool:
    """Return whether a session under ``root`` is not closed, some trainer lives, or ``worker`` has taken a job.

    What cannot be read may be open.
    """
    try:
        return taken_file(root, worker).exists() or bool(live_trainers()) or any(map(_is_open, sessions(root)))
    except OSError:
        return True


def _is_open(folder: SessionFolder) -> bool:
    session = Session.read(folder.session_file)
    return session is not None and session.phase is not Phase.CLOSED
