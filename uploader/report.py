"""What the uploader tells about a run: ``upload.json`` for its neighbours, ``status.json`` for the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import Status
from shared.contract.session import Phase
from shared.contract.upload import Count, Failure
from uploader.kinds import Kind
from uploader.manifest import reason
from uploader.paths import printable
from uploader.states import State

if TYPE_CHECKING:
    from shared.contract.session import Session
    from uploader.ledger import Ledger
    from uploader.rows import Total
    from uploader.run import Run

# A document that is read every second must stay small; the manifest lists everything.
_MOST_FAILURES = 50
_LAST_SAMPLES = 4


def counts(ledger: Ledger) -> tuple[Count, Count, Count]:
    """Return what is uploaded, pending and failed."""
    totals = ledger.totals()
    waiting = (totals[State.READY], totals[State.SENDING])
    lost = (totals[State.FAILED], totals[State.GONE])
    return _sum(ledger.stored_total()), _sum(*waiting), _sum(*lost)


def failures(ledger: Ledger, *, ended: bool) -> tuple[Failure, ...]:
    """Return files that are not in the bucket and have met trouble, with their reasons.

    ``ended``: nobody writes any more, and somebody may be waiting: whatever is not in the bucket is missing.
    """
    rows = ledger.missing(_MOST_FAILURES) if ended else ledger.troubled(_MOST_FAILURES)
    return tuple(
        Failure(path=printable(row.path), reason=reason(row), permanent=row.state in {State.FAILED, State.GONE})
        for row in rows
    )


def checkpoint_keys(run: Run, ledger: Ledger, count: int = 100) -> tuple[str, ...]:
    """Return the whole keys of the newest checkpoints in the bucket, oldest first."""
    newest = ledger.newest_stored(Kind.CHECKPOINT, count)
    return tuple(keys.join(run.prefix, file.key) for file in reversed(newest))


def sample_keys(run: Run, ledger: Ledger) -> tuple[str, ...]:
    """Return the whole keys of the newest samples in the bucket, oldest first."""
    newest = ledger.newest_stored(Kind.SAMPLE, _LAST_SAMPLES)
    return tuple(keys.join(run.prefix, file.key) for file in reversed(newest))


def status(
    run: Run,
    session: Session | None,
    ledger: Ledger,
    *,
    worker: str,
    epoch: int,
    counter: int,
    now: float,
    warnings: tuple[str, ...],
    closed: bool,
) -> Status:
    """Return ``status.json`` as it is now. ``closed``: everything but the manifest has been written."""
    uploaded, pending, failed = counts(ledger)
    checkpoints = checkpoint_keys(run, ledger, 1)
    shown = Status(
        session_id=run.session_id,
        worker=worker,
        epoch=epoch,
        counter=counter,
        at=now,
        phase=Phase.CLOSED if closed else Phase.TRAINING,
        last_checkpoint=checkpoints[0] if checkpoints else None,
        last_samples=sample_keys(run, ledger),
        uploaded=uploaded,
        pending=pending,
        failed=failed,
        warnings=warnings,
    )
    return shown if session is None else _with_session(shown, session)


def _with_session(shown: Status, session: Session) -> Status:
    return shown.model_copy(
        update={
            "job_id": session.job_id,
            "input_hash": session.input_hash,
            "lineage": session.lineage,
            "resumed_step": session.resumed_step,
            "phase": Phase.CLOSED if shown.phase is Phase.CLOSED else session.phase,
            "outcome": session.ending.outcome if session.ending else None,
            "error_code": session.ending.error_code if session.ending else None,
            "progress": session.progress,
            "log_tail": session.log_tail,
            "warnings": (*session.warnings, *shown.warnings),
        }
    )


def _sum(*totals: Total) -> Count:
    return Count(files=sum(total.files for total in totals), bytes=sum(total.bytes for total in totals))
