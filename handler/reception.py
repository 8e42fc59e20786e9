"""What becomes of a job that RunPod delivers: it is answered from the bucket, followed elsewhere, or run here.

Delivery is at least once, and results get lost, so what lies under the job's prefix decides.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from handler.answer import from_manifest, newest, refusal
from handler.config import config_name
from handler.earlier import falls_silent, is_open_elsewhere, look_back, session_of
from handler.following import follow
from handler.job import parse_job
from handler.links import links_to
from handler.opening import open_book, reopen
from handler.pipeline import JobRun, disk_trouble
from handler.precedent import Answered, GoOn
from handler.preflight import Preflight
from handler.threads import EndedEarlyError, in_thread
from shared.contract.session import Outcome
from shared.errors import ErrorCode, FerryError
from shared.layout import SessionFolder
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from handler.book import Book
    from handler.job import Job
    from handler.precedent import Course
    from handler.preflight import Ready
    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.contract.bucket import Manifest

_UNFINISHED = frozenset({Outcome.INTERRUPTED, Outcome.UNKNOWN})

log = EventLog("handler")


async def run_job(event: Mapping[str, object], workshop: Workshop, stop: StopRequest) -> dict[str, Any]:
    """Return the answer to what RunPod delivered. Raises nothing but a cancellation, after having cleaned up.

    A cancellation reaches the trainer at once; what exists is then delivered for up to a minute. Only a defect in what
    comes before the session raises anything else.
    """
    begun = workshop.clock.monotonic()
    try:
        job = parse_job(event)
        while True:
            result = await _run_once(job, workshop, stop, begun)
            if result.get("error_code") != ErrorCode.PREFIX_IN_USE:
                return result
            seen = await follow(job, workshop, stop)
            if seen is None:
                return result
            if seen.manifest is not None and seen.manifest.outcome not in _UNFINISHED:
                return await _stored_answer(seen.manifest, job, workshop, stop)
    except FerryError as error:
        log.error("job_refused", code=error.code, reason=error.sentence)
        return refusal(error)
    except OSError as error:
        return refusal(disk_trouble(error))
    except EndedEarlyError:
        return refusal(FerryError(ErrorCode.INTERRUPTED, "The worker was told to stop before the job had begun."))


async def _run_once(job: Job, workshop: Workshop, stop: StopRequest, begun: float) -> dict[str, Any]:
    """Return the answer to ``job``: from the bucket where it has been run, else by running it."""
    decided, manifest = await in_thread(stop, lambda flag: look_back(job, workshop, flag))
    if isinstance(decided, Answered) and manifest is not None:
        log.info("job_answered", job=job.job_id, session=manifest.session_id)
        return await _stored_answer(manifest, job, workshop, stop)
    free = None
    if isinstance(decided, GoOn):
        try:
            free = await _free(job, decided, workshop, stop)
        except FerryError as error:
            return refusal(error)
    ready = await in_thread(
        stop,
        lambda flag: Preflight(workshop.settings, workshop.storage, workshop.clock, workshop.environ, flag).check(job),
    )
    book = _book(job, decided, free, ready, workshop)
    run = JobRun(job, ready, book, workshop, stop, begun)
    # A dataset's listing may be long, and so is a training.
    del ready
    return await run.to_the_end()


async def _free(job: Job, decided: GoOn, workshop: Workshop, stop: StopRequest) -> SessionFolder | None:
    """Return the folder of the session that ``job`` goes on with, once no other worker is at it; None: not seen here.

    Raises FerryError (PREFIX_IN_USE) where another worker on this volume lives for it, EndedEarlyError when ``stop`` is
    asked.
    """
    folder, session = await in_thread(stop, lambda _flag: session_of(job, workshop)) or (None, None)
    if folder is None or session is None or folder.session_id != decided.session_id:
        return None
    if not is_open_elsewhere(session, workshop.settings.worker):
        return folder
    log.info("session_watched", session=folder.session_id)
    silent = await falls_silent(folder, workshop.clock, stop)
    if stop.reason is not None:
        raise EndedEarlyError(stop.reason)
    if not silent:
        sentence = f"Another worker runs {folder.session_id}, which writes to the same prefix: wait for its end."
        raise FerryError(ErrorCode.PREFIX_IN_USE, sentence)
    return folder


def _book(job: Job, decided: Course, free: SessionFolder | None, ready: Ready, workshop: Workshop) -> Book:
    """Return the session of ``job``: that of the run that it goes on with where its folder is ``free``, else a new one.

    Only what has been seen to be free is: one that the volume hid then may be another worker's.
    """
    if not isinstance(decided, GoOn):
        return open_book(job, ready, workshop)
    if free is not None:
        # It may have been deleted meanwhile.
        with suppress(FileNotFoundError):
            return reopen(free, job, ready, workshop)
    return open_book(job, ready, workshop, decided.lineage)


async def _stored_answer(manifest: Manifest, job: Job, workshop: Workshop, stop: StopRequest) -> dict[str, Any]:
    output = SessionFolder(workshop.settings.root / manifest.session_id).output
    keys, bucket = newest(manifest, job.prefix), job.upload.bucket_name
    links = await links_to(keys, manifest.session_id, bucket, job.link_seconds, workshop, stop)
    return from_manifest(manifest, bucket, job.prefix, str(output / config_name(job.config)), links)
