"""Looks for an earlier run of a job's prefix: in the bucket, and on the volume that workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.precedent import Course, course, newest
from shared import keys
from shared.clock import Deadline
from shared.contract.bucket import MANIFEST, STATUS, Manifest, Status
from shared.contract.session import Phase, Session
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from shared.layout import SessionFolder, sessions
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience, call

if TYPE_CHECKING:
    import threading
    from collections.abc import Hashable
    from pathlib import Path

    from handler.job import Job
    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.clock import Clock

# As long as the claim on a prefix outlives its owner's last word.
SILENCE_SECONDS = 90.0
LARGEST_MANIFEST = 1 << 30
STORAGE_PATIENCE = Patience(seconds=30, first=0.5, longest=5)
_LOOK_SECONDS = 2.0


def look_back(job: Job, workshop: Workshop, stop: threading.Event) -> tuple[Course, Manifest | None]:
    """Return what an earlier run means for ``job``, and the manifest under its prefix. Blocking.

    Raises StorageError.
    """
    manifest, status = documents(job, workshop, stop)
    folder = folder_of(job, workshop.settings.root)
    session = Session.read(folder.session_file) if folder else None
    earlier = newest(manifest, status, session, delivered=folder is not None and _is_delivered(folder))
    decided = course(job, earlier)
    return decided, manifest


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


def folder_of(job: Job, root: Path) -> SessionFolder | None:
    """Return the newest session on this volume that writes, or wrote, under the prefix of ``job``."""
    found = [(session.created_at, folder) for folder in sessions(root) if (session := _session_of(job, folder))]
    return max(found, key=lambda each: each[0])[1] if found else None


async def falls_silent(folder: SessionFolder, clock: Clock, stop: StopRequest) -> bool:
    """Return whether a session that another worker has open falls silent: neither handler nor trainer moves.

    False as soon as something moves, or when the session is closed, or when ``stop`` is asked.
    """
    silence = Deadline(clock, SILENCE_SECONDS)
    before = pulse(folder)
    while not silence.passed():
        await stop.wait(_LOOK_SECONDS)
        if stop.reason is not None or pulse(folder) != before:
            return False
    return True


def is_open_elsewhere(folder: SessionFolder, worker: str) -> bool:
    """Return whether another worker than ``worker`` has the session open, dead or alive."""
    session = Session.read(folder.session_file)
    return session is not None and session.phase is not Phase.CLOSED and session.worker != worker


def pulse(folder: SessionFolder) -> Hashable:
    """Return what changes as long as a handler or a trainer is at work on a session."""
    session = Session.read(folder.session_file)
    try:
        written = folder.trainer_output.stat().st_size
    except OSError:
        written = 0
    return None if session is None else (session.beat, session.phase, session.worker), written


def _session_of(job: Job, folder: SessionFolder) -> Session | None:
    """Return the session in ``folder`` where it had the prefix of ``job``: one that was refused it had nothing."""
    session = Session.read(folder.session_file)
    if session is None or (session.bucket, session.prefix) != (job.upload.bucket_name, job.prefix):
        return None
    refused = session.ending is not None and session.ending.error_code is ErrorCode.PREFIX_IN_USE
    return None if refused else session


def _is_delivered(folder: SessionFolder) -> bool:
    upload, session = Upload.read(folder.upload_file), Session.read(folder.session_file)
    receipt = upload.receipt if upload else None
    asked = session.drain if session else None
    return receipt is not None and asked is not None and receipt.token == asked.token and receipt.complete
