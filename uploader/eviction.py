"""Makes room on a disk that is nearly full: what is in the bucket goes, and what is missed least goes first.

First copies in the spool that can be made again, then this worker's delivered sessions, then a live session's delivered
checkpoints but the newest. Watched folders belong to a person, and nothing is deleted there.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from shared.contract.session import Phase, Session
from shared.log import EventLog
from shared.retention import sweep, unneeded
from uploader.fullness import Fullness
from uploader.lanes import Desk
from uploader.removing import remove_rows, remove_session
from uploader.spare import save_bytes, spare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from shared.layout import SessionFolder
    from uploader.carrier import Carrier
    from uploader.ledger import Ledger
    from uploader.run import Run
    from uploader.world import World

LOOK_SECONDS = 2.0
# Where nothing is left to delete, it is not looked for all the time.
_HOPELESS_SECONDS = 10.0
# ai-toolkit deletes its own old checkpoints right after a save, and must not miss one while it is counting them.
QUIET_SECONDS = 5.0
# A fact of the ledger: of so many steps the checkpoints were deleted on the worker after they had been delivered.
_THINNED = "thinned"

log = EventLog("uploader")


class Eviction:
    """Deletes on one worker's disk. ``root`` is where its sessions are."""

    def __init__(self, root: Path, world: World) -> None:
        self._root = root
        self._worker = world.worker
        self._clock = world.clock
        self._fullness = Fullness(root, world)
        self._desk: Desk[int] = Desk(world.lanes)
        self._deleting: SessionFolder | None = None
        self._stuck: set[Path] = set()
        self._next_look: float | None = None
        self.waiting = False

    def look(self, carriers: Iterable[Carrier], *, at_once: bool = False) -> None:
        """Take a step where there is too little room; ``at_once``: a write has just been refused.

        Afterwards ``waiting`` says whether more can be deleted as soon as the trainer has saved. Raises OSError or
        sqlite3.Error as the disk does.
        """
        self._take_deleted()
        now = self._clock.monotonic()
        due = at_once or self._next_look is None or now >= self._next_look
        if self._desk.busy or not due:
            return
        runs = [carrier for carrier in carriers if not carrier.run.watched]
        ledgers = [carrier.hold.ledger for carrier in runs if carrier.hold is not None]
        next_save = max((save_bytes(ledger.checkpoints()) for ledger in ledgers), default=0)
        sessions = [carrier.session for carrier in runs if carrier.session is not None]
        lacking = self._fullness.lacking(sessions, next_save)
        self.waiting = False
        hopeless = lacking > 0 and not self._make_room(runs, lacking)
        self._next_look = now + (_HOPELESS_SECONDS if hopeless else 0.0 if lacking else LOOK_SECONDS)
        self._fullness.tell(lacking, hopeless=hopeless)

    def _make_room(self, runs: Sequence[Carrier], lacking: int) -> bool:
        """Free some of the ``lacking`` bytes; return whether there is anything to delete, now or in a moment."""
        freed = sum(carrier.hold.drop_leftovers() for carrier in runs if carrier.hold is not None)
        deleting = freed < lacking and self._delete_session()
        for carrier in [] if deleting else runs:
            if self._is_saving(carrier.run):
                self.waiting = True
            else:
                freed += _thin(carrier, lacking - freed)
        self._fullness.freed(freed)
        return bool(freed or deleting or self.waiting)

    def _delete_session(self) -> bool:
        """Begin to delete the oldest session that nobody needs; return whether there is one."""
        sweep(self._root)
        found = (folder for folder in unneeded(self._root, self._worker) if folder.path not in self._stuck)
        self._deleting = next(found, None)
        if self._deleting is not None:
            self._desk.start(partial(remove_session, self._deleting))
        return self._deleting is not None

    def _take_deleted(self) -> None:
        future, folder = self._desk.take(), self._deleting
        if future is None or folder is None:
            return
        self._next_look = None
        try:
            self._fullness.freed(future.result())
        except OSError as error:
            self._stuck.add(folder.path)
            log.warning("session_not_deleted", session=folder.session_id, reason=error.strerror)
        else:
            log.info("session_deleted", session=folder.session_id)

    def _is_saving(self, run: Run) -> bool:
        """Return whether the trainer saves, or has just done so. Read anew: the last word may be a second old."""
        session, folder = Session.read(run.session_file), run.output / run.name
        if session is None or session.ending is not None or not folder.is_dir():
            return False
        quiet = self._clock.now() - folder.stat().st_mtime
        return session.phase is Phase.SAVING or quiet < QUIET_SECONDS


def thinned(ledger: Ledger) -> str | None:
    """Return what there is to say of a run whose checkpoints had to make room."""
    steps = ledger.fact(_THINNED)
    if steps is None:
        return None
    return f"The disk was nearly full, so the checkpoints of {steps} steps were deleted there; they are in the bucket."


def _thin(carrier: Carrier, lacking: int) -> int:
    """Delete delivered checkpoints of one run, oldest first, and return the bytes."""
    hold, freed, steps = carrier.hold, 0, 0
    if hold is None:
        return 0
    for rows in spare(hold.ledger.checkpoints()):
        if freed >= lacking:
            break
        count = remove_rows(carrier.run, rows)
        if count:
            log.info("checkpoint_deleted", session=carrier.run.session_id, step=rows[0].step, bytes=count)
            freed, steps = freed + count, steps + 1
    if steps:
        # What has just been freed may show too late for the ledger.
        with suppress(sqlite3.OperationalError):
            hold.ledger.set_fact(_THINNED, str(steps + int(hold.ledger.fact(_THINNED) or 0)))
    return freed
