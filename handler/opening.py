"""The beginning of a run: its folder, and the first word on it."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from handler.book import Book, new_folder
from handler.config import config_name
from handler.masking import masked
from shared.contract.process import identify
from shared.contract.session import Session
from shared.log import EventLog, secrets_of

if TYPE_CHECKING:
    from handler.job import Job
    from handler.preflight import Ready
    from handler.workshop import Workshop
    from shared.layout import SessionFolder

log = EventLog("handler")


def open_book(job: Job, ready: Ready, workshop: Workshop) -> Book:
    """Make the session of ``job``. Raises OSError when the disk refuses."""
    folder = new_folder(workshop.settings.root, workshop.clock.now())
    try:
        return _opened(folder, job, ready, workshop)
    except OSError:
        # Nobody has heard of it yet, and nobody will.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _opened(folder: SessionFolder, job: Job, ready: Ready, workshop: Workshop) -> Book:
    session = Session(
        session_id=folder.session_id,
        worker=workshop.settings.worker,
        handler=identify(),
        job_id=job.job_id,
        input_hash=job.input_hash,
        model_name=job.model_name,
        name=config_name(job.config),
        bucket=job.upload.bucket_name,
        prefix=job.prefix,
        created_at=workshop.clock.now(),
        config=masked(job.config, secrets_of(workshop.environ)),
        versions=_versions(ready),
        warnings=(*job.warnings, *ready.warnings),
    )
    session.write(folder.session_file)
    log.info("session_opened", session=folder.session_id, bucket=session.bucket, prefix=session.prefix)
    return Book(folder, session, workshop.clock)


def _versions(ready: Ready) -> dict[str, str]:
    known = {"ai-toolkit": ready.toolkit_version} if ready.toolkit_version else {}
    for package in ("runpod", "storage3"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            continue
    return known
