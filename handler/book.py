"""Keeps ``session.json``: the handler's word on a run, which the uploader and a later handler go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.bell import ring
from shared.contract.session import Session
from shared.layout import SESSION_PREFIX, SessionFolder
from shared.log import EventLog

if TYPE_CHECKING:
    from pathlib import Path

    from shared.clock import Clock
    from shared.contract.session import Phase

# What only changes numbers is written so often at most; the uploader polls once a second.
_PACE_SECONDS = 1.0
LOST = "Another worker has taken this run over while this one stood still; it goes on there."

log = EventLog("handler")


class Book:
    """The session's document in memory and on disk. A full disk never ends a training: the next write tries again.

    ``refused`` is why the newest write failed, None where it did not. ``lost``: another handler has taken the session
    over, so nothing is written to it any more.
    """

    def __init__(self, folder: SessionFolder, session: Session, clock: Clock) -> None:
        self.folder = folder
        self.session = session
        self._clock = clock
        self._written: float | None = None
        self.refused: OSError | None = None
        self.lost = False

    def note(self, **changes: object) -> None:
        """Take in what changed, and write it unless that was done within the last second."""
        if any(getattr(self.session, name) != value for name, value in changes.items()):
            self.session = self.session.model_copy(update=changes)
        now = self._clock.monotonic()
        if self._written is None or now - self._written >= _PACE_SECONDS:
            self.write()

    def enter(self, phase: Phase, **changes: object) -> None:
        """Take in a new phase, and what comes with it, and announce it."""
        self.session = self.session.model_copy(update={"phase": phase, **changes})
        self.announce()

    def announce(self) -> None:
        """Write the document now, and have the uploader look at it at once."""
        self.write()
        ring(self.folder.path.parent)

    def write(self) -> None:
        """Write the document now, unless it is another handler's by now."""
        if self.lost or (self._written is not None and self._is_another_handlers()):
            return
        self._written = self._clock.monotonic()
        self.session = self.session.model_copy(update={"beat": self.session.beat + 1})
        try:
            self.session.write(self.folder.session_file)
        except OSError as error:
            if self.refused is None:
                log.warning("session_not_written", session=self.session.session_id, reason=error.strerror)
            self.refused = error
        else:
            self.refused = None

    def _is_another_handlers(self) -> bool:
        """Return whether somebody else has written there: a worker that was frozen for long is taken for dead."""
        try:
            there = Session.read(self.folder.session_file)
        except OSError:
            return False
        if there is not None and there.handler != self.session.handler:
            self.lost, self.refused = True, None
            log.error("session_lost", session=self.session.session_id, worker=there.worker)
        return self.lost


def new_folder(root: Path, now: float) -> SessionFolder:
    """Make the folder of a new session, named by the second (Unix seconds) and made unique where two fall in one.

    Only this user may read what lies in it. Raises OSError when the disk refuses.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{SESSION_PREFIX}{int(now)}"
    for number in range(1, 1000):
        path = root / (name if number == 1 else f"{name}_{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        folder = SessionFolder(path)
        try:
            folder.output.mkdir(mode=0o700)
        except OSError:
            path.rmdir()
            raise
        return folder
    raise FileExistsError(f"{root / name} and a thousand like it exist already")
