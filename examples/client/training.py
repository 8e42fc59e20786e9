"""One training as its sender sees it: how it stands, how it ended, and whether sending it again lets it go on.

RunPod is asked first. Where it does not answer, or has nothing to say, the bucket is: results get lost on the way, and
what the manifest says is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from examples.client.endpoint import FINAL, EndpointError, Trouble
from shared.clock import Deadline
from shared.contract.session import Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from examples.client.endpoint import Endpoint, JobState
    from examples.client.request import Request
    from examples.client.results import Results
    from shared.clock import Clock
    from shared.contract.bucket import Manifest, Status

# A worker's status.json counts on every 15 seconds, and its prefix may be taken over when it has not for 90.
SILENCE_SECONDS = 120.0
_NOTHING = Progress()
_WAITING = "in the queue"
_BEGINNING = "starting"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a training stands. ``phase`` is the worker's word; ``trouble`` is why RunPod does not tell, if so."""

    phase: str
    progress: Progress = _NOTHING
    warnings: tuple[str, ...] = ()
    trouble: str | None = None


class How(StrEnum):
    """How a job ended: ``INTERRUPTED`` ones go on when they are sent again."""

    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended, in one sentence as well, with the worker's code where it gave one."""

    how: How
    sentence: str
    code: str | None = None
    warnings: tuple[str, ...] = ()


class Training:
    """A request, and the jobs that it was sent as, one after the other; ``jobs`` are the ids of those sent before."""

    def __init__(
        self, request: Request, endpoint: Endpoint, results: Results, clock: Clock, jobs: tuple[str, ...] = ()
    ) -> None:
        self.request = request
        self.jobs = jobs
        self._endpoint = endpoint
        self._results = results
        self._clock = clock
        self._counter: int | None = None
        self._silence = Deadline(clock, SILENCE_SECONDS)

    @property
    def job_id(self) -> str:
        """Return the id of the newest job."""
        return self.jobs[-1]

    def send(self) -> str:
        """Send the request, for the first time or again, and return the job's id. Raises EndpointError."""
        self.jobs = (*self.jobs, self._endpoint.send(self.request.body))
        self._counter = None
        return self.job_id

    def cancel(self) -> None:
        """Cancel the newest job. Raises EndpointError."""
        self._endpoint.cancel(self.job_id)

    def look(self) -> Standing | End:
        """Return how the newest job stands, or how it ended. Raises EndpointError where the key is refused."""
        try:
            state = self._endpoint.look(self.job_id)
        except EndpointError as error:
            if error.trouble is Trouble.UNKNOWN:
                gone = f"RunPod knows job {self.job_id} no more, and the bucket holds nothing of it."
                return self._by_the_bucket(End(How.INTERRUPTED if self._results.known else How.FAILED, gone))
            if error.trouble not in {Trouble.AWAY, Trouble.BUSY}:
                raise
            return self._unheard(error.sentence)
        return self._ended(state) if state.status in FINAL else self._going_on(state)

    @property
    def is_visible(self) -> bool:
        """Return whether the bucket can be asked."""
        return self._results.known

    def has_manifest(self) -> bool:
        """Return whether the newest job's results are complete as far as they will ever be."""
        return self._manifest() is not None

    def _going_on(self, state: JobState) -> Standing:
        told = _told(state.output)
        if told is not None:
            return told
        status = None if state.status == "IN_QUEUE" else self._status()
        return _seen(status) if status else Standing(_WAITING if state.status == "IN_QUEUE" else _BEGINNING)

    def _unheard(self, why: str) -> Standing | End:
        """Return how the training stands while RunPod cannot be reached."""
        manifest, status = self._manifest(), self._status()
        if manifest is not None:
            return _proved(manifest)
        return _seen(status, why) if status else Standing("unknown", trouble=why)

    def _ended(self, state: JobState) -> End | Standing:
        output = state.output
        code, error = output.get("error_code"), output.get("error") or state.error
        if output.get("success") is True:
            return _finished(output.get("steps"), output.get("files_uploaded"), _texts(output.get("warnings")))
        if code is not None:
            how = How.INTERRUPTED if code == "interrupted" else How.FAILED
            return End(how, str(error or code), str(code), _texts(output.get("warnings")))
        if state.status == "CANCELLED":
            return End(How.CANCELLED, "The job was cancelled.")
        if state.status == "TIMED_OUT":
            return End(How.INTERRUPTED, "RunPod's execution timeout, or its TTL, has ended the job.")
        return self._by_the_bucket(End(How.FAILED, error or f"RunPod says {state.status}, and nothing more."))

    def _by_the_bucket(self, otherwise: End) -> Standing | End:
        """Return what the bucket says of a job of which RunPod says nothing; ``otherwise`` where it knows nothing."""
        manifest = self._manifest()
        if manifest is not None:
            return _proved(manifest)
        status = self._status()
        if status is None:
            return otherwise
        if status.counter != self._counter:
            self._counter, self._silence = status.counter, Deadline(self._clock, SILENCE_SECONDS)
        if self._silence.passed():
            return End(How.INTERRUPTED, "The worker has been lost: nothing moves any more.")
        return _seen(status, "RunPod says no more of it; it is followed in the bucket")

    def _manifest(self) -> Manifest | None:
        manifest = self._results.manifest()
        return manifest if manifest is not None and manifest.job_id == self.job_id else None

    def _status(self) -> Status | None:
        status = self._results.status()
        return status if status is not None and status.job_id == self.job_id else None


def _told(output: Mapping[str, Any]) -> Standing | None:
    """Return the progress that the worker has sent; None where this is none."""
    try:
        progress = Progress.model_validate(output)
    except ValidationError:
        return None
    phase = output.get("phase")
    return Standing(phase, progress, _texts(output.get("warnings"))) if isinstance(phase, str) else None


def _seen(status: Status, trouble: str | None = None) -> Standing:
    return Standing(status.phase, status.progress, status.warnings, trouble)


def _proved(manifest: Manifest) -> End:
    if manifest.outcome is Outcome.FINISHED and manifest.complete:
        return _finished(manifest.progress.step, len(manifest.files), manifest.warnings)
    if manifest.outcome is Outcome.FINISHED:
        missing = f"The training finished, but {len(manifest.missing)} files are not in the bucket."
        return End(How.FAILED, missing, "upload_incomplete", manifest.warnings)
    how = {Outcome.INTERRUPTED: How.INTERRUPTED, Outcome.CANCELLED: How.CANCELLED}.get(manifest.outcome, How.FAILED)
    return End(how, manifest.error or f"The training was {manifest.outcome}.", manifest.error_code, manifest.warnings)


def _finished(steps: object, files: object, warnings: tuple[str, ...]) -> End:
    return End(How.FINISHED, f"The training has finished: {steps} steps, {files} files in the bucket.", None, warnings)


def _texts(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()
