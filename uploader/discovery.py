"""Finding the runs that are ours to carry: our own, those of watched folders, and those whose worker is gone.

A session of another worker on a shared volume is left alone until its handler has been silent for long enough.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.contract.session import Session
from shared.contract.upload import Upload
from shared.layout import sessions
from shared.log import EventLog
from uploader.requests import asked_for
from uploader.run import ADOPTED, answered_token, drain_token, session_run
from uploader.session_view import was_refused
from uploader.silence import SILENCE_SECONDS, Silence
from uploader.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from os import stat_result
    from pathlib import Path

    from shared.layout import SessionFolder
    from uploader.run import Run, Watch
    from uploader.world import World

log = EventLog("uploader")


@dataclass(slots=True)
class _Neighbour:
    """Another worker's session. ``alive``: it has been seen to move, or its uploader has."""

    worker: str
    silence: Silence
    alive: bool = False


class Discovery:
    """The sessions under ``root`` (None: none) and the runs of watched folders, as one worker sees them."""

    def __init__(self, world: World, root: Path | None, watches: Sequence[Watch]) -> None:
        self._world = world
        self._root = root
        self._watches = watches
        self._finished: dict[Path, tuple[int, ...]] = {}
        self._superseded: dict[Path, tuple[int, ...]] = {}
        self._neighbours: dict[Path, _Neighbour] = {}
        self._problem: str | None = None

    def undecided(self) -> tuple[tuple[str, str], ...]:
        """Return every session, with its worker, whose worker has neither moved nor been silent for long enough."""
        neighbours = self._neighbours.items()
        return tuple((path.name, neighbour.worker) for path, neighbour in neighbours if not neighbour.alive)

    def elsewhere(self) -> tuple[tuple[str, str], ...]:
        """Return every session that is left alone although not all of it is in the bucket, and why."""
        living = [
            (path.name, f"its own worker, {neighbour.worker}, is at work on it")
            for path, neighbour in self._neighbours.items()
            if neighbour.alive
        ]
        return (*living, *((path.name, "another run has written to its prefix since") for path in self._superseded))

    def runs(self, carried: Container[Path]) -> Iterator[Run]:
        """Yield what is to be carried and is not yet. What the disk refuses to tell is left out, and logged once."""
        problem = None
        try:
            for watch in self._watches:
                yield from (run for run in watch.runs() if run.state not in carried)
            folders = list(sessions(self._root)) if self._root else []
        except OSError as error:
            problem, folders = str(error), []
        for folder in folders:
            try:
                run = None if folder.path in carried else self._run(folder)
            except OSError as error:
                problem, run = str(error), None
            if run is not None:
                yield run
        if problem is not None and problem != self._problem:
            log.error("runs_not_listed", reason=problem)
        if problem is None:
            self._forget_all_but({folder.path for folder in folders})
        self._problem = problem

    def left(self, run: Run, standing: Standing | None) -> None:
        """Take note that ``run`` is not ours to carry after all, for what its claim told."""
        if standing is Standing.SUPERSEDED:
            with suppress(FileNotFoundError):
                self._superseded[run.state] = _signature(run.session_file.stat())
        elif standing is not None and run.worker is not None:
            self._neighbours[run.state] = _Neighbour(run.worker, self._silence(), alive=True)

    def _forget_all_but(self, there: Container[Path]) -> None:
        known: tuple[dict[Path, Any], ...] = (self._finished, self._superseded, self._neighbours)
        for each in known:
            for path in [path for path in each if path not in there]:
                del each[path]

    def _run(self, folder: SessionFolder) -> Run | None:
        wanted = asked_for(folder.requests, "retry")
        try:
            signature = _signature(folder.session_file.stat())
        except FileNotFoundError:
            return None
        if not wanted and signature in {self._finished.get(folder.path), self._superseded.get(folder.path)}:
            return None
        self._superseded.pop(folder.path, None)
        session = Session.read(folder.session_file)
        if session is None:
            return None
        if not wanted and self._is_finished(folder, session, Upload.read(folder.upload_file)):
            self._finished[folder.path] = signature
            self._neighbours.pop(folder.path, None)
            return None
        return session_run(folder) if self._is_ours(folder, session) else None

    def _is_finished(self, folder: SessionFolder, session: Session, upload: Upload | None) -> bool:
        """Return whether nothing more is to be done for a session as it is now."""
        if was_refused(session):
            return True
        answered = answered_token(upload, session.attempt)
        if answered is None:
            return False
        # Another worker has closed it for us; only a handler that moves after that says that it goes on.
        closed = answered == ADOPTED and folder.path not in self._finished
        return closed or answered == drain_token(session, self._world.worker)

    def _is_ours(self, folder: SessionFolder, session: Session) -> bool:
        """Return whether a session is this worker's, or its own worker has fallen silent and left something."""
        if session.worker == self._world.worker:
            self._neighbours.pop(folder.path, None)
            return True
        neighbour = self._neighbours.get(folder.path)
        if neighbour is None:
            neighbour = self._neighbours[folder.path] = _Neighbour(session.worker, self._silence())
            seconds = int(SILENCE_SECONDS)
            log.info("worker_watched", session=folder.session_id, worker=session.worker, seconds=seconds)
        silent = neighbour.silence.look((session.worker, session.attempt, session.beat))
        if silent is None and not neighbour.alive:
            neighbour.alive = True
            log.info("worker_alive", session=folder.session_id, worker=session.worker)
        if silent is None or silent < SILENCE_SECONDS:
            return False
        del self._neighbours[folder.path]
        if not _has_cargo(folder):
            self._finished[folder.path] = _signature(folder.session_file.stat())
            return False
        return True

    def _silence(self) -> Silence:
        return Silence(self._world.clock, self._world.settings.poll_seconds)


def _has_cargo(folder: SessionFolder) -> bool:
    """Return whether a session has ever sent or made anything: one that never got its prefix leaves it alone."""
    has_ledger = any(folder.path.glob("ledger.*.sqlite3"))
    return has_ledger or any(path.is_file() for path in folder.output.rglob("*"))


def _signature(stat: stat_result) -> tuple[int, ...]:
    """Return what tells one version of a file from the next, also where times are kept in whole seconds."""
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size
