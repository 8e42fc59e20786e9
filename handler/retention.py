"""Which finished sessions a worker keeps. Nothing that is not in the bucket is ever deleted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from shared.contract.process import find
from shared.contract.session import Phase, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder, sessions
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DELETED = ".deleted."

log = EventLog("handler")


def prune(root: Path, worker: str, keep: int, enough: Callable[[], bool] = lambda: True) -> None:
    """Delete the sessions of ``worker`` that nobody needs, oldest first, apart from the newest ``keep``.

    As long as there is not ``enough`` room, those go as well. Blocking: a session may be large.
    """
    for left in root.glob(f"{_DELETED}*"):
        shutil.rmtree(left, ignore_errors=True)
    unneeded = [folder for folder in sessions(root) if _is_unneeded(folder, worker)]
    for number, folder in enumerate(unneeded):
        if number < len(unneeded) - keep or not enough():
            log.info("session_deleted", session=folder.session_id)
            _delete(folder)


def _delete(folder: SessionFolder) -> None:
    """Delete a session. It is put aside first, so that nobody meets the half of one that a kill leaves behind."""
    aside = folder.path.with_name(f"{_DELETED}{folder.session_id}")
    try:
        folder.path.rename(aside)
    except OSError as error:
        log.warning("session_not_deleted", session=folder.session_id, reason=error.strerror)
        return
    shutil.rmtree(aside, ignore_errors=True)


def _is_unneeded(folder: SessionFolder, worker: str) -> bool:
    try:
        session, upload = Session.read(folder.session_file), Upload.read(folder.upload_file)
    except OSError:
        return False
    if session is None or session.worker != worker or session.phase is not Phase.CLOSED:
        return False
    if session.trainer is not None and find(session.trainer) is not None:
        return False
    # A run whose prefix was somebody else's has written nothing.
    return _is_delivered(session, upload) or (upload is not None and upload.refused is not None and _is_empty(folder))


def _is_delivered(session: Session, upload: Upload | None) -> bool:
    receipt = upload.receipt if upload else None
    return (
        session.drain is not None and receipt is not None and receipt.token == session.drain.token and receipt.complete
    )


def _is_empty(folder: SessionFolder) -> bool:
    return not any(path.is_file() for path in folder.output.rglob("*"))
