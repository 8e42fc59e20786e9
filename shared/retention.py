"""Which sessions nobody needs any more, and how one is deleted. Nothing that is not in the bucket ever is.

Handler and uploader both make room; each session is its worker's own to delete.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.contract.process import find
from shared.contract.session import Phase, Session
from shared.contract.upload import Upload
from shared.layout import SessionFolder, sessions

if TYPE_CHECKING:
    from pathlib import Path

# Hidden, so that neither a scan nor the trainer takes what is being deleted for something.
ASIDE = ".deleted."


def unneeded(root: Path, worker: str) -> list[SessionFolder]:
    """Return the sessions of ``worker`` that are over and completely delivered, or empty, oldest first."""
    return [folder for folder in sessions(root) if _is_unneeded(folder, worker)]


def delete(folder: SessionFolder) -> None:
    """Delete a session. Raises OSError where it cannot be done at all; what cannot be deleted is left to ``sweep``."""
    remove(folder.path)


def remove(folder: Path) -> None:
    """Delete a folder with all that is in it. Raises OSError where it cannot be put aside.

    That comes first, so that nobody meets the half of one that a kill leaves behind.
    """
    aside = folder.with_name(f"{ASIDE}{folder.name}")
    folder.rename(aside)
    _empty(aside)


def sweep(root: Path) -> None:
    """Finish the deletions directly below ``root`` that were cut off."""
    for left in root.glob(f"{ASIDE}*"):
        _empty(left)


def _empty(folder: Path) -> None:
    # Before Python 3.13 it calls itself for each folder in another: a tree without end stays, and harms nobody.
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)


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
