"""Opening the ledger of an epoch: taken over from the epoch before, and set aside when it cannot be read."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from shared.atomic import sync_folder
from shared.log import EventLog
from uploader.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.run import Run

_JOURNAL = "-journal"

log = EventLog("uploader")


def open_ledger(run: Run, epoch: int) -> Ledger:
    """Return the ledger of ``epoch``; one that cannot be read is set aside, and the bucket tells what is there.

    Raises sqlite3.Error or OSError when the disk refuses.
    """
    run.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run.ledger(epoch)
    inherited = not path.exists() and _inherit(run, epoch)
    try:
        ledger = Ledger(path)
    except LedgerError as error:
        _set_aside(path)
        log.warning("ledger_set_aside", session=run.session_id, file=path.name, reason=error)
        return Ledger(path)
    if inherited:
        # Whoever held the claim in between may have written to any key.
        ledger.doubt_everything()
    return ledger


def _inherit(run: Run, epoch: int) -> bool:
    """Copy the newest ledger of an earlier epoch, so that its owner, should it wake up, harms nothing.

    The journal goes first: the two together are the ledger, even if the owner died in mid-transaction.
    """
    older = [number for number in run.epochs() if number < epoch]
    if not older:
        return False
    source, target = run.ledger(max(older)), run.ledger(epoch)
    temporary = target.with_name(f".{target.name}")
    if _beside(source).exists():
        shutil.copyfile(_beside(source), _beside(target))
    shutil.copyfile(source, temporary)
    temporary.replace(target)
    sync_folder(target.parent)
    return True


def _set_aside(path: Path) -> None:
    """Rename a ledger together with its journal, which would be played into the new one."""
    aside = path.with_name(f"{path.name}.broken")
    if _beside(path).exists():
        _beside(path).replace(_beside(aside))
    path.replace(aside)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _JOURNAL)
