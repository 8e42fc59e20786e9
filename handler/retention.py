"""Which finished sessions a worker keeps. Nothing that is not in the bucket is ever deleted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from shared.contract.session import Phase, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder, sessions
from shared.log import EventLog

if TYPE_CHECKING:
    from pathlib import Path

log = EventLog("handler")


def prune(root: Path, worker: str, keep: int) -> None:
    """Delete the sessions of ``worker`` that are delivered, apart from the newest ``keep``."""
    delivered = [folder for folder in sessions(root) if _is_delivered(folder, worker)]
    for folder in delivered[: max(0, len(delivered) - keep)]:
        log.info("session_deleted", session=folder.session_id)
        shutil.rmtree(folder.path, ignore_errors=True)


def _is_delivered(folder: SessionFolder, worker: str) -> bool:
    session, upload = Session.read(folder.session_file), Upload.read(folder.upload_file)
    if session is None or upload is None or session.worker != worker or session.drain is None:
        return False
    receipt = upload.receipt
    return (
        session.phase is Phase.CLOSED
        and receipt is not None
        and receipt.token == session.drain.token
        and receipt.complete
    )
