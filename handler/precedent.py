"""What an earlier run under the same prefix means for a job: its answer is given, it is gone on with, or it is left.

A pure rule. Delivery is at least once at RunPod: the same job, id and input, may come again at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.contract.session import Outcome, Phase, Session
from shared.errors import ErrorCode

if TYPE_CHECKING:
    from handler.job import Job
    from shared.contract.bucket import Manifest, Status


@dataclass(frozen=True, slots=True)
class Earlier:
    """The newest run under a job's prefix. ``outcome`` is None while nobody has ended it; ``complete``: delivered."""

    session_id: str
    lineage: tuple[str, ...]
    job_id: str | None
    input_hash: str | None
    outcome: Outcome | None
    error_code: ErrorCode | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Anew:
    """The training begins at its beginning."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The run has finished well, and its manifest holds the answer."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """The training goes on where session ``session_id`` was. ``lineage`` ends with it."""

    session_id: str
    lineage: tuple[str, ...]


Course = Anew | Answered | GoOn


def course(job: Job, earlier: Earlier | None) -> Course:
    """Return what to do about ``job``, given the newest run under its prefix."""
    if earlier is None:
        return Anew()
    same_input = earlier.input_hash == job.input_hash
    if same_input and earlier.outcome is Outcome.FINISHED and earlier.complete:
        again = same_job(job, earlier.job_id, earlier.input_hash)
        return Answered() if again or job.resume else Anew()
    if job.resume or (job.resume is None and same_input and _is_sound(earlier)):
        return GoOn(earlier.session_id, (*earlier.lineage, earlier.session_id))
    return Anew()


def same_job(job: Job, job_id: str | None, input_hash: str | None) -> bool:
    """Return whether a run is that of ``job``, delivered once more. A local test is no job that comes again."""
    return job.job_id is not None and (job_id, input_hash) == (job.job_id, job.input_hash)


def newest(
    manifest: Manifest | None, status: Status | None, session: Session | None, *, delivered: bool
) -> Earlier | None:
    """Return the newest run that left any of these: in the bucket a manifest and a status, on the volume a session.

    ``delivered`` says whether the session's uploader has answered that everything is in the bucket.
    """
    in_bucket = _of_manifest(manifest) if manifest else _of_status(status) if status else None
    if session is None:
        return in_bucket
    known = manifest.created_at if manifest else None
    if in_bucket is not None and in_bucket.session_id != session.session_id and not _is_later(session, known):
        return in_bucket
    if manifest is not None and manifest.session_id == session.session_id and session.phase is Phase.CLOSED:
        return in_bucket
    return _of_session(session, delivered=delivered)


def _is_later(session: Session, created_at: float | None) -> bool:
    return created_at is not None and session.created_at > created_at


def _is_sound(earlier: Earlier) -> bool:
    """Return whether what a run has saved is worth going on with, however it ended."""
    return earlier.error_code is not ErrorCode.NAN_LOSS


def _of_manifest(manifest: Manifest) -> Earlier:
    return Earlier(
        session_id=manifest.session_id,
        lineage=manifest.lineage,
        job_id=manifest.job_id,
        input_hash=manifest.input_hash,
        outcome=manifest.outcome,
        error_code=manifest.error_code,
        complete=manifest.complete,
    )


def _of_status(status: Status) -> Earlier:
    return Earlier(
        session_id=status.session_id,
        lineage=status.lineage,
        job_id=status.job_id,
        input_hash=status.input_hash,
        outcome=status.outcome,
        error_code=status.error_code,
        complete=False,
    )


def _of_session(session: Session, *, delivered: bool) -> Earlier:
    ending = session.ending if session.phase is Phase.CLOSED else None
    return Earlier(
        session_id=session.session_id,
        lineage=session.lineage,
        job_id=session.job_id,
        input_hash=session.input_hash,
        outcome=ending.outcome if ending else None,
        error_code=ending.error_code if ending else None,
        complete=delivered,
    )
