"""The job that this worker has taken, written down before anything else, so that RunPod hears of it whatever happens.

From its opening to its closing the session stands for its job. Before, and from its closing until RunPod has the
answer, a handler that is killed would leave a job behind that runs for ever as far as RunPod knows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from handler.answer import from_manifest, refusal
from handler.earlier import LARGEST_MANIFEST, STORAGE_PATIENCE, told
from handler.left_over import NEVER_BEGAN
from handler.masking import presentable
from handler.threads import EndedEarlyError, in_thread
from shared import keys
from shared.contract.bucket import MANIFEST, Manifest
from shared.contract.session import Outcome, Phase
from shared.contract.taken import Taken
from shared.errors import ErrorCode, FerryError
from shared.layout import taken_file
from shared.log import EventLog
from shared.patience import patiently
from shared.secrecy import secrets_of
from shared.storage.errors import StorageError
from shared.storage.retry import call

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Container, Iterable, Mapping

    from handler.lifeline import Lifeline
    from handler.stop import StopRequest
    from handler.workshop import Workshop
    from shared.contract.session import Session
    from shared.layout import SessionFolder
    from shared.settings import Settings

NEVER_ANSWERED = "The handler was killed before it had answered: send the job again."

log = EventLog("handler")


def note(settings: Settings, job_id: str, answer: Mapping[str, Any] | None = None) -> None:
    """Write down that this worker has taken a job, and its ``answer`` before RunPod gets it.

    A disk that refuses is the job's own trouble, soon enough.
    """
    file = taken_file(settings.root, settings.worker)
    # Links are secrets as long as they work.
    known = None if answer is None else {name: value for name, value in answer.items() if name != "links"}
    with suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        Taken(job_id=job_id, answer=known).write(file)


def forget(settings: Settings, job_id: str | None = None) -> None:
    """Take note that RunPod waits for the job that was taken no more, if that is ``job_id`` (None: whichever)."""
    file = taken_file(settings.root, settings.worker)
    with suppress(OSError):
        known = Taken.read(file)
        if known is not None and job_id in {None, known.job_id}:
            file.unlink(missing_ok=True)


async def answer_taken(workshop: Workshop, lifeline: Lifeline, stop: StopRequest, answered: Collection[str]) -> None:
    """Answer the job that an earlier handler of this worker took and for which no open session stands.

    ``answered`` are the sessions whose jobs have just been answered. Once ``stop`` is asked for, that is left to the
    next handler.
    """
    settings, clock = workshop.settings, workshop.clock
    file = taken_file(settings.root, settings.worker)
    try:
        known = await in_thread(stop, lambda _flag: patiently(lambda: Taken.read(file), clock=clock))
        runs = await in_thread(stop, lambda _flag: list(told(workshop) if known else ()))
    except OSError as error:
        log.warning("taken_job_not_read", reason=error)
        return
    except EndedEarlyError:
        return
    if known is None or stop.reason is not None:
        return
    folder, session = _newest(runs, known.job_id, settings.worker) or (None, None)
    if session is not None and session.phase is not Phase.CLOSED:
        return
    if session is None and not set(answered) <= {seen.session_id for seen, _ in runs}:
        # The volume hides one by now, and it may be that job's.
        return
    if not _is_settled(session, answered):
        log.info("job_left_unanswered", job=known.job_id, session=session.session_id if session else None)
        with suppress(EndedEarlyError):
            await lifeline.carry(known.job_id, _answer(known, folder, session, workshop, stop), stop)
    forget(settings, known.job_id)


def _is_settled(session: Session | None, answered: Container[str]) -> bool:
    """Return whether RunPod waits for nothing any more: it has the answer, or has cancelled the job itself."""
    if session is None:
        return False
    cancelled = session.ending is not None and session.ending.outcome is Outcome.CANCELLED
    return cancelled or session.session_id in answered


async def _answer(
    known: Taken, folder: SessionFolder | None, session: Session | None, workshop: Workshop, stop: StopRequest
) -> dict[str, Any]:
    """Return the answer that was written down, else what the bucket tells of the run, else what its session does."""
    if known.answer is not None:
        return {**known.answer, "stored_answer": True}
    if folder is None or session is None:
        return refusal(FerryError(ErrorCode.INTERRUPTED, NEVER_BEGAN))
    manifest = await in_thread(stop, lambda flag: _manifest(session, workshop, flag))
    if manifest is not None and manifest.session_id == session.session_id:
        answer = from_manifest(manifest, session.bucket, session.prefix, str(folder.output / session.name))
    else:
        code = session.ending.error_code if session.ending else None
        error = session.ending.error if session.ending else None
        answer = refusal(FerryError(code or ErrorCode.INTERRUPTED, error or NEVER_ANSWERED), session.session_id)
    return dict(presentable(answer, secrets_of(workshop.environ)))


def _manifest(session: Session, workshop: Workshop, stop: threading.Event) -> Manifest | None:
    key = keys.join(session.prefix, MANIFEST)
    try:
        content = call(
            lambda: workshop.storage.read(session.bucket, key, limit=LARGEST_MANIFEST),
            STORAGE_PATIENCE,
            clock=workshop.clock,
            wait=stop.wait,
        )
    except StorageError as error:
        log.warning("manifest_not_read", session=session.session_id, reason=error.sentence)
        return None
    return Manifest.parse(content) if content else None


def _newest(
    runs: Iterable[tuple[SessionFolder, Session]], job_id: str, worker: str
) -> tuple[SessionFolder, Session] | None:
    """Return the newest of ``runs``, the oldest of which comes first, that is the job's on ``worker``."""
    own = [run for run in runs if (run[1].job_id, run[1].worker) == (job_id, worker)]
    return own[-1] if own else None
