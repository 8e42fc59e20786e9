"""Looks for an earlier run of a job's prefix: in the bucket, and on the volume that workers share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from handler.drain import newest_word
from handler.precedent import Course, course, newest
from shared import keys
from shared.clock import Deadline
from shared.contract.bucket import MANIFEST, STATUS, Manifest, Status
from shared.contract.session import Phase, Session
from shared.errors import ErrorCode
from shared.layout import sessions
from shared.log import EventLog
from shared.patience import patiently
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    import threading
    from collections.abc import Hashable, Iterator
    from pathlib import Path

    from handler.job import Job
    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.clock import Clock
    from shared.layout import SessionFolder

# As long as the claim on a prefix outlives its owner's last word.
SILENCE_SECONDS = 90.0
LARGEST_MANIFEST = 1 << 30
STORAGE_PATIENCE = Patience(seconds=30, first=0.5, longest=5)
_LOOK_SECONDS = 2.0
# So many times as long as a silence a session is watched at most, should the volume hide it meanwhile.
_LONGEST_WATCH = 4
# What a volume keeps back for a moment is there again within that.
_BAD_FILES_SECONDS = 3.0

log = EventLog("handler")


def look_back(job: Job, workshop: Workshop, stop: threading.Event) -> tuple[Course, Manifest | None]:
    """Return what an earlier run means for ``job``, and the manifest under its prefix. Blocking.

    Raises StorageError, and OSError as ``session_of`` does.
    """
    manifest, status = documents(job, workshop, stop)
    folder, session = session_of(job, workshop) or (None, None)
    delivered = folder is not None and session is not None and _is_delivered(folder, session)
    earlier = newest(manifest, status, session, delivered=delivered)
    return course(job, earlier), manifest


def documents(job: Job, workshop: Workshop, stop: threading.Event) -> tuple[Manifest | None, Status | None]:
    """Return manifest and status under the prefix of ``job``. Raises StorageError. Blocking."""

    def ask(name: str, limit: int) -> bytes | None:
        key = keys.join(job.prefix, name)
        try:
            return call(
                lambda: workshop.storage.read(job.upload.bucket_name, key, limit=limit),
                STORAGE_PATIENCE,
                clock=workshop.clock,
                wait=stop.wait,
            )
        except StorageError as error:
            if error.trouble is not Trouble.BUCKET_NOT_FOUND:
                raise
            # What to do about that, the preflight says.
            return None

    status, manifest = ask(STATUS, 1 << 20), ask(MANIFEST, LARGEST_MANIFEST)
    return (Manifest.parse(manifest) if manifest else None, Status.parse(status) if status else None)


def session_of(job: Job, workshop: Workshop) -> tuple[SessionFolder, Session] | None:
    """Return the newest session on this volume that writes, or wrote, under the prefix of ``job``, and its folder.

    Blocking, as ``told`` is, and raises as that does.
    """
    found = [(folder, session) for folder, session in told(workshop) if _had_the_prefix(session, job)]
    return max(found, key=lambda each: each[1].created_at, default=None)


def told(workshop: Workshop) -> Iterator[tuple[SessionFolder, Session]]:
    """Yield every session on this volume, oldest first, but for those that the volume does not tell of.

    What may pass is waited for: a minute for the root, some seconds for all that lies in it. Blocking. Raises OSError
    where the root cannot be listed.
    """
    root, clock = workshop.settings.root, workshop.clock
    folders = patiently(lambda: list(sessions(root)), clock=clock)
    patience = Deadline(clock, _BAD_FILES_SECONDS)
    for folder in folders:
        read = partial(Session.read, folder.session_file)
        try:
            session = patiently(read, clock=clock, seconds=patience.remaining())
        except OSError as error:
            # One bad file must not hold up the others, and whose it is, the claim on a prefix tells as well.
            log.warning("session_passed_over", session=folder.session_id, reason=error)
            continue
        if session is not None:
            yield folder, session


async def falls_silent(folder: SessionFolder, clock: Clock, stop: StopRequest) -> bool:
    """Return whether a session that another worker has open falls silent: neither handler nor trainer moves.

    False as soon as something moves, or when the session is closed, when ``stop`` is asked, or when the volume has not
    shown it for long enough within several times that.
    """
    silence, limit = Deadline(clock, SILENCE_SECONDS), Deadline(clock, SILENCE_SECONDS * _LONGEST_WATCH)
    before = pulse(folder)
    while not silence.passed():
        await stop.wait(_LOOK_SECONDS)
        seen = pulse(folder)
        if stop.reason is not None or limit.passed():
            return False
        if seen is None or before is None:
            # Who is out of sight is not silent.
            silence, before = Deadline(clock, SILENCE_SECONDS), before if seen is None else seen
        elif seen != before:
            return False
    return True


def is_open_elsewhere(session: Session, worker: str) -> bool:
    """Return whether another worker than ``worker`` has the session open, dead or alive."""
    return session.phase is not Phase.CLOSED and session.worker != worker


def pulse(folder: SessionFolder) -> Hashable | None:
    """Return what changes as long as a handler or a trainer is at work on a session.

    None where the volume does not say.
    """
    try:
        session = Session.read(folder.session_file)
        written = _size(folder.trainer_output)
    except OSError:
        return None
    return None if session is None else (session.beat, session.phase, session.worker), written


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _had_the_prefix(session: Session, job: Job) -> bool:
    """Return whether a session had the prefix of ``job``: one that was refused it had nothing."""
    refused = session.ending is not None and session.ending.error_code is ErrorCode.PREFIX_IN_USE
    return not refused and (session.bucket, session.prefix) == (job.upload.bucket_name, job.prefix)


def _is_delivered(folder: SessionFolder, session: Session) -> bool:
    upload = newest_word(folder, session.attempt)
    receipt = upload.receipt if upload else None
    asked = session.drain
    return receipt is not None and asked is not None and receipt.token == asked.token and receipt.complete
