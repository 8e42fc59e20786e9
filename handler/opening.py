"""The beginning of a run: its folder, and the first word on it."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from handler.book import Book, new_folder
from handler.config import config_name
from handler.masking import masked
from shared.bell import ring
from shared.contract.process import identify
from shared.contract.session import Session
from shared.log import EventLog
from shared.secrecy import secrets_of

if TYPE_CHECKING:
    from handler.job import Job
    from handler.preflight import Ready
    from handler.workshop import Workshop
    from shared.layout import SessionFolder

log = EventLog("handler")


def open_book(job: Job, ready: Ready, workshop: Workshop, lineage: tuple[str, ...] = ()) -> Book:
    """Make the session of ``job``, which goes on with the sessions of ``lineage``. Raises OSError as the disk does."""
    folder = new_folder(workshop.settings.root, workshop.clock.now())
    session = Session(
        session_id=folder.session_id,
        created_at=workshop.clock.now(),
        lineage=lineage,
        **_told(job, ready, workshop),
    )
    try:
        session.write(folder.session_file)
    except OSError:
        # Nobody has heard of it yet, and nobody will.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    ring(workshop.settings.root)
    log.info("session_opened", session=folder.session_id, bucket=session.bucket, prefix=session.prefix)
    return Book(folder, session, workshop.clock)


def reopen(folder: SessionFolder, job: Job, ready: Ready, workshop: Workshop) -> Book:
    """Take up the session in ``folder`` for one more attempt. Raises FileNotFoundError where it is gone.

    What it has saved stays known, because only that is resumed from.
    """
    old = Session.read(folder.session_file)
    if old is None:
        raise FileNotFoundError(folder.session_file)
    session = Session(
        session_id=old.session_id,
        created_at=old.created_at,
        lineage=old.lineage,
        attempt=old.attempt + 1,
        beat=old.beat,
        saved=old.saved,
        **_told(job, ready, workshop),
    )
    # What it says is of the attempt before.
    folder.trainer_exit.unlink(missing_ok=True)
    book = Book(folder, session, workshop.clock)
    book.announce()
    log.info("session_reopened", session=old.session_id, attempt=session.attempt)
    return book


def _told(job: Job, ready: Ready, workshop: Workshop) -> dict[str, Any]:
    """Return what job and worker say of a session."""
    return {
        "worker": workshop.settings.worker,
        "handler": identify(),
        "job_id": job.job_id,
        "input_hash": job.input_hash,
        "model_name": job.model_name,
        "name": config_name(job.config),
        "bucket": job.upload.bucket_name,
        "prefix": job.prefix,
        "link_seconds": job.link_seconds,
        "config": masked(job.config, secrets_of(workshop.environ)),
        "versions": _versions(ready),
        "warnings": (*job.warnings, *ready.warnings),
    }


def _versions(ready: Ready) -> dict[str, str]:
    known = {"ai-toolkit": ready.toolkit_version} if ready.toolkit_version else {}
    for package in ("runpod", "storage3"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known
