"""The answer to a job: true, in JSON, and with one sentence a person can act on where something went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared import keys
from shared.contract.bucket import MANIFEST
from shared.contract.session import Outcome
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from handler.drain import Drained
    from shared.contract.bucket import Link, Manifest
    from shared.contract.session import Ending, Session
    from shared.contract.upload import Upload

MESSAGE = "Training completed successfully"
DEFECT = "The worker met a defect of its own; its log has the details: please report it with them."
TAIL_LINES = 40
# RunPod refuses results of more than about 10 MB, and people read less; the manifest lists everything.
_MOST_LISTED = 200
_LONGEST_TEXT = 1000
_LAST_SAMPLES = 4
_OPTIMIZER = "/optimizer.pt"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has come to its end, in whatever way. ``seconds`` is how long the job took."""

    session: Session
    ending: Ending
    drained: Drained
    output_path: str
    tail: tuple[str, ...]
    seconds: float
    warnings: tuple[str, ...]
    links: tuple[Link, ...] = ()


def refusal(error: FerryError, session_id: str | None = None) -> dict[str, Any]:
    """Return the answer to a job that was not started."""
    answer: dict[str, Any] = {"success": False, "error": error.sentence, "error_code": str(error.code)}
    return answer if session_id is None else {**answer, "session_id": session_id}


def from_manifest(
    manifest: Manifest, bucket: str, upload_folder: str, output_path: str, links: Sequence[Link] = ()
) -> dict[str, Any]:
    """Return the answer to a job whose run has ended already, as its manifest in ``bucket`` tells it.

    ``upload_folder`` is the run's whole prefix, ``output_path`` where its output lies, or lay, on a worker.
    """
    known: dict[str, Any] = {
        "session_id": manifest.session_id,
        "model_name": manifest.model_name,
        "upload_folder": upload_folder,
        "output_path": output_path,
        "bucket": bucket,
        "job_id": manifest.job_id,
        "steps": manifest.progress.step,
        "total_steps": manifest.progress.total,
        "final_loss": manifest.progress.loss,
        "duration_seconds": round((manifest.ended_at or manifest.created_at) - manifest.created_at, 1),
        "files_uploaded": len(manifest.files),
        "bytes_uploaded": sum(entry.size for entry in manifest.files),
        "checkpoints": _newest(manifest, upload_folder, "checkpoints")[-_MOST_LISTED:],
        "manifest": keys.join(upload_folder, MANIFEST),
        "missing": [missing.model_dump() for missing in manifest.missing[:_MOST_LISTED]],
        "stored_answer": True,
        **({} if manifest.resumed_step is None else {"resumed_from_step": manifest.resumed_step}),
        **({"warnings": _listed(list(manifest.warnings))} if manifest.warnings else {}),
        **_with(links),
    }
    if manifest.outcome is Outcome.FINISHED and manifest.complete:
        return {"success": True, "message": MESSAGE, **known}
    finished = manifest.outcome is Outcome.FINISHED
    error = "The training finished, but not everything is in the bucket." if finished else manifest.error
    code = ErrorCode.UPLOAD_INCOMPLETE if finished else manifest.error_code
    return {
        "success": False,
        "error": _shortened(error or "The training did not finish."),
        "error_code": str(code or ErrorCode.TRAINING_FAILED),
        **known,
        "outcome": str(manifest.outcome),
        "log_tail": [_shortened(line) for line in manifest.log_tail[-TAIL_LINES:]],
    }


def newest(manifest: Manifest, upload_folder: str) -> tuple[str, ...]:
    """Return the keys of a run's last checkpoint and of its last samples."""
    samples = _newest(manifest, upload_folder, "samples")[-_LAST_SAMPLES:]
    return (*_newest(manifest, upload_folder, "checkpoints")[-1:], *samples)


def _newest(manifest: Manifest, upload_folder: str, folder: str) -> list[str]:
    """Return the keys below one of a run's folders, the newest last; the optimizer's state is no checkpoint."""
    start = f"{keys.join(upload_folder, folder)}/"
    found = [entry for entry in manifest.files if entry.key.startswith(start) and not entry.key.endswith(_OPTIMIZER)]
    return [entry.key for entry in sorted(found, key=lambda entry: (entry.mtime, entry.key))]


def answer(run: Finished) -> dict[str, Any]:
    """Return the answer to a job that has a session."""
    error = _error(run)
    known = _known(run)
    if error is None:
        return {"success": True, "message": MESSAGE, **known}
    code, sentence = error
    return {
        "success": False,
        "error": _shortened(sentence),
        "error_code": str(code),
        **known,
        "outcome": str(run.ending.outcome),
        "log_tail": [_shortened(line) for line in run.tail[-TAIL_LINES:]],
    }


def _error(run: Finished) -> tuple[ErrorCode, str] | None:
    ending = run.ending
    if ending.outcome is not Outcome.FINISHED:
        sentence = ending.error or "The training did not finish."
        return ending.error_code or ErrorCode.TRAINING_FAILED, f"{sentence}{_undelivered(run)}"
    if run.drained.complete:
        return None
    code = ErrorCode.UPLOADER_DOWN if run.drained.uploader_silent else ErrorCode.UPLOAD_INCOMPLETE
    return code, f"The training finished, but not everything is in the bucket.{_undelivered(run)}"


def _undelivered(run: Finished) -> str:
    if run.drained.complete:
        return ""
    upload = run.drained.upload
    if upload is not None and upload.refusal:
        return "" if upload.refusal == run.ending.error else f" {upload.refusal}"
    if run.drained.uploader_silent:
        return " The uploader stopped beating; start it again and it goes on where it was."
    missing = _missing(run.drained)
    reason = f" ({missing[0]['path']}: {missing[0]['reason'].rstrip('.')})" if missing else ""
    count = _count(upload, run.drained)
    if run.drained.receipt is not None:
        return f" {count} could not be uploaded{reason}."
    if upload is not None and not (upload.pending.files or upload.failed.files):
        return " The manifest had not been written when the waiting was given up; the uploader goes on with it."
    return f" {count} had not been uploaded when the waiting was given up{reason}; the uploader goes on with them."


def _count(upload: Upload | None, drained: Drained) -> str:
    if upload is None:
        return "Nothing is known to be in the bucket; what was written"
    files = len(drained.receipt.missing) if drained.receipt else upload.pending.files + upload.failed.files
    return f"{files} file{'' if files == 1 else 's'}"


def _missing(drained: Drained) -> list[dict[str, str]]:
    if drained.receipt is not None:
        failures = drained.receipt.missing
    else:
        failures = drained.upload.failures if drained.upload else ()
    return [
        {"path": _shortened(failure.path), "reason": _shortened(failure.reason)} for failure in failures[:_MOST_LISTED]
    ]


def _known(run: Finished) -> dict[str, Any]:
    session, upload, receipt = run.session, run.drained.upload, run.drained.receipt
    progress = session.progress
    known: dict[str, Any] = {
        "session_id": session.session_id,
        "model_name": session.model_name,
        "upload_folder": session.prefix,
        "output_path": run.output_path,
        "bucket": session.bucket,
        "steps": progress.step,
        "total_steps": progress.total,
        "final_loss": progress.loss,
        "duration_seconds": round(run.seconds, 1),
        "files_uploaded": upload.uploaded.files if upload else 0,
        "bytes_uploaded": upload.uploaded.bytes if upload else 0,
        "checkpoints": list(receipt.checkpoints[-_MOST_LISTED:]) if receipt else [],
        "manifest": receipt.manifest_key if receipt else None,
        "missing": _missing(run.drained),
    }
    if session.resumed_step is not None:
        known["resumed_from_step"] = session.resumed_step
    warnings = [*run.warnings, *(upload.warnings if upload else ())]
    told = {"warnings": _listed(warnings)} if warnings else {}
    return {**known, **told, **_with(run.links)}


def _with(links: Sequence[Link]) -> dict[str, Any]:
    return {"links": [link.model_dump() for link in links]} if links else {}


def _listed(warnings: list[str]) -> list[str]:
    more = len(warnings) - _MOST_LISTED
    shown = [_shortened(warning) for warning in warnings[:_MOST_LISTED]]
    return [*shown, f"… and {more} more"] if more > 0 else shown


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
