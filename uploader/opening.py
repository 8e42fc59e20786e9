"""Opening the ledger of an epoch: taken over from the epoch before, and set aside when it is of no use any more.

What a ledger knew can be learnt again: the tree is looked at anew, and the bucket's own records tell what is there.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from shared import keys
from shared.atomic import sync_folder
from shared.contract.upload import Upload
from shared.log import EventLog
from uploader.kinds import key_of, nature
from uploader.ledger import Ledger
from uploader.ledger_file import LedgerError
from uploader.office import REBUILT, STOCKED
from uploader.scan import NEVER_LOOKED_AT

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.run import Run

_JOURNAL = "-journal"

log = EventLog("uploader")


def open_ledger(run: Run, epoch: int) -> Ledger:
    """Return the ledger of ``epoch``, an empty one where there is none of use.

    Raises sqlite3.Error or OSError when the disk refuses.
    """
    run.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = run.ledger(epoch)
    # Nobody is told of a claim before its ledger is at work.
    told = Upload.read(run.upload_file)
    known = told.claim_epoch if told else None
    try:
        if known != epoch and not os.path.lexists(path):
            _inherit(run, epoch)
        ledger = _opened(path)
    except LedgerError as error:
        set_aside(run, epoch, error)
        ledger, known = Ledger(path), epoch
    with ExitStack() as undoing:
        # One that stays open would keep this very process from opening it again.
        undoing.callback(ledger.close)
        if known is not None and ledger.fact(STOCKED) is None and ledger.fact(REBUILT) is None:
            with ledger.transaction():
                # What the trainer has deleted since it was delivered is to be found in the bucket alone.
                ledger.set_fact(REBUILT, "1")
                _recall_missing(run, ledger)
            log.warning("ledger_rebuilt", session=run.session_id, file=path.name)
        undoing.pop_all()
    return ledger


def set_aside(run: Run, epoch: int, reason: LedgerError) -> None:
    """Rename the ledger of ``epoch``, whatever lies there, and then its journal; an earlier one makes room.

    In this order: a journal without a ledger is thrown away by SQLite, a ledger without its journal may be half a
    transaction. Raises OSError when the disk refuses.
    """
    path = run.ledger(epoch)
    aside = path.with_name(f"{path.name}.broken")
    log.warning("ledger_set_aside", session=run.session_id, file=path.name, reason=reason)
    for old, new in ((path, aside), (_beside(path), _beside(aside))):
        if os.path.lexists(old):
            if new.is_dir() and not new.is_symlink():
                shutil.rmtree(new)
            old.replace(new)
    sync_folder(path.parent)


def _opened(path: Path) -> Ledger:
    for file in (path, _beside(path)):
        if os.path.lexists(file) and not _is_file(file):
            raise LedgerError(f"{file} is no file")
    return Ledger(path)


def _recall_missing(run: Run, ledger: Ledger) -> None:
    """Take what was last told to be missing for missing still; what lies on the disk shows itself anew."""
    told = Upload.read(run.upload_file)
    for failure in told.failures if told else ():
        key = key_of(failure.path, run.name, run.prefix)
        if ledger.key_owner(key) not in {None, failure.path}:
            key = keys.disambiguate(key, failure.path)
        kind = nature(failure.path, run.name).kind
        ledger.refused(failure.path, kind, key, NEVER_LOOKED_AT, failure.reason, run.created_at)


def _inherit(run: Run, epoch: int) -> None:
    """Copy the newest ledger of an earlier epoch, so that its owner, should it wake up, harms nothing.

    Ledger and journal together are what it knew, even if the owner died in mid-transaction. The copy gets its name only
    when everything in it is in doubt: once it has that, nobody can tell that it is one. Raises LedgerError where it
    cannot be read; it has its name then, to be set aside.
    """
    older = [number for number in run.epochs() if number < epoch and _is_file(run.ledger(number))]
    if not older:
        return
    source, target = run.ledger(max(older)), run.ledger(epoch)
    copy = target.with_name(f".{target.name}")
    for left in (_beside(copy), _beside(target)):
        # By whoever was interrupted here; it would be played into this one.
        if _is_file(left):
            left.unlink()
    if _is_file(_beside(source)):
        _copy(_beside(source), _beside(copy))
    _copy(source, copy)
    try:
        _doubt(copy)
    except LedgerError:
        copy.replace(target)
        raise
    _beside(copy).unlink(missing_ok=True)
    copy.replace(target)
    sync_folder(target.parent)


def _doubt(path: Path) -> None:
    """Take nothing in a ledger for granted: whoever held the claim in between may have written to any key."""
    with closing(Ledger(path)) as ledger, ledger.transaction():
        ledger.doubt_everything()
        ledger.set_fact(STOCKED, "")


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _JOURNAL)
