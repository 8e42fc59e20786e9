"""Following a job that runs elsewhere already: RunPod delivers at least once, and it is trained once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.earlier import SILENCE_SECONDS, documents, pulse, session_of
from handler.precedent import same_job
from handler.threads import EndedEarlyError, in_thread
from shared.clock import Deadline
from shared.errors import FerryError
from shared.log import EventLog
from shared.patience import may_pass
from shared.storage.errors import StorageError

if TYPE_CHECKING:
    import threading
    from collections.abc import Hashable

    from handler.job import Job
    from handler.watch import StopRequest
    from handler.workshop import Workshop
    from shared.contract.bucket import Manifest, Status

_LOOK_SECONDS = 5.0

log = EventLog("handler")


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a run from here. ``same``: it is the very job; ``pulse`` changes as long as somebody is at it."""

    manifest: Manifest | None
    status: Status | None
    same: bool
    pulse: Hashable


async def follow(job: Job, workshop: Workshop, stop: StopRequest) -> Sight | None:
    """Return the last sight of the run of this very job, once it has ended or has fallen silent.

    None at once where the run that is in the way is another job's. Raises EndedEarlyError when ``stop`` is asked, and
    StorageError or OSError where nothing is seen of it for as long as a silence lasts, or what is wrong does not pass.
    """
    seen = await _first_look(job, workshop, stop)
    if not seen.same:
        return None
    log.info("job_followed", job=job.job_id, prefix=job.prefix)
    workshop.reporter.begin()
    silence = Deadline(workshop.clock, SILENCE_SECONDS)
    while seen.manifest is None and not silence.passed():
        if seen.status is not None:
            workshop.reporter.tell(seen.status)
        await stop.wait(_LOOK_SECONDS)
        if stop.reason is not None:
            raise EndedEarlyError(stop.reason)
        before = seen
        try:
            seen = await in_thread(stop, lambda flag: _look(job, workshop, flag))
        except (OSError, FerryError) as error:
            log.warning("job_out_of_sight", job=job.job_id, reason=error)
            silence = Deadline(workshop.clock, SILENCE_SECONDS)
        if seen.pulse != before.pulse:
            silence = Deadline(workshop.clock, SILENCE_SECONDS)
    workshop.reporter.end()
    await workshop.reporter.silence()
    return seen


async def _first_look(job: Job, workshop: Workshop, stop: StopRequest) -> Sight:
    patience = Deadline(workshop.clock, SILENCE_SECONDS)
    while True:
        try:
            return await in_thread(stop, lambda flag: _look(job, workshop, flag))
        except (OSError, StorageError) as error:
            passes = may_pass(error) if isinstance(error, OSError) else error.transient
            if not passes or patience.passed():
                raise
            log.warning("job_out_of_sight", job=job.job_id, reason=error)
        await stop.wait(_LOOK_SECONDS)


def _look(job: Job, workshop: Workshop, stop: threading.Event) -> Sight:
    manifest, status = documents(job, workshop, stop)
    folder, session = session_of(job, workshop) or (None, None)
    known = [(told.job_id, told.input_hash) for told in (manifest, status, session) if told is not None]
    return Sight(
        manifest=manifest,
        status=status,
        same=any(same_job(job, *identity) for identity in known),
        pulse=(status.counter if status else None, pulse(folder) if folder else None),
    )
