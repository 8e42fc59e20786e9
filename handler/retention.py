"""How many finished sessions a worker keeps. Nothing that is not in the bucket is ever deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.log import EventLog
from shared.retention import delete, sweep, unneeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = EventLog("handler")


def prune(root: Path, worker: str, keep: int, enough: Callable[[], bool] = lambda: True) -> None:
    """Delete the sessions of ``worker`` that nobody needs, oldest first, apart from the newest ``keep``.

    As long as there is not ``enough`` room, those go as well. Blocking: a session may be large.
    """
    sweep(root)
    found = unneeded(root, worker)
    for number, folder in enumerate(found):
        if number < len(found) - keep or not enough():
            try:
                delete(folder)
            except OSError as error:
                log.warning("session_not_deleted", session=folder.session_id, reason=error.strerror)
            else:
                log.info("session_deleted", session=folder.session_id)
