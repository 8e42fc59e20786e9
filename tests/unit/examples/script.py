"""An endpoint and a bucket that play a script, so that a training's whole life takes no time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from examples.client.endpoint import Endpoint, EndpointError, JobState, Trouble
from examples.client.request import Request
from examples.client.training import Training
from shared.contract.bucket import Manifest, Status
from shared.contract.session import Outcome, Phase, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from examples.client.results import Results
    from shared.clock import Clock

REQUEST = Request("cats.json", {"input": {"config": "x"}, "policy": {}}, "outputs", "run/cats")
AWAY = EndpointError(Trouble.AWAY, "There is no connection.")
GONE = EndpointError(Trouble.UNKNOWN, "There is no such job any more.")
REFUSED = EndpointError(Trouble.REFUSED, "The key is refused.")
QUEUED, RUNNING = JobState("IN_QUEUE"), JobState("IN_PROGRESS")
FINISHED = JobState("COMPLETED", {"success": True, "steps": 12, "files_uploaded": 18, "warnings": ["a warning"]})
INTERRUPTED = JobState("FAILED", {"success": False, "error_code": "interrupted"}, "The worker was told to stop.")
FAILED = JobState("FAILED", {"success": False, "error_code": "nan_loss"}, "The loss is not a number.")
LOST = JobState("FAILED", {}, "worker exited")


class Watch:
    """A clock that moves when somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


@dataclass
class ScriptedEndpoint:
    """``seen`` is what each look shows, the last one for ever; an exception is raised."""

    seen: deque[JobState | BaseException] = field(default_factory=deque)
    sent: list[Mapping[str, Any]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refuses: EndpointError | None = None

    def send(self, body: Mapping[str, Any]) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(body)
        return f"job-{len(self.sent)}"

    def look(self, job_id: str) -> JobState:
        seen = self.seen.popleft() if len(self.seen) > 1 else self.seen[0]
        if isinstance(seen, BaseException):
            raise seen
        return seen

    def cancel(self, job_id: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.cancelled.append(job_id)


@dataclass
class ScriptedResults:
    """What the bucket holds."""

    of_status: Status | None = None
    of_manifest: Manifest | None = None
    known: bool = True

    def status(self) -> Status | None:
        return self.of_status

    def manifest(self) -> Manifest | None:
        return self.of_manifest


def training(
    endpoint: ScriptedEndpoint, results: ScriptedResults, clock: Clock, jobs: tuple[str, ...] = ("job-1",)
) -> Training:
    return Training(REQUEST, cast("Endpoint", endpoint), cast("Results", results), clock, jobs)


def status(counter: int = 1, job_id: str = "job-1", **fields: Any) -> Status:
    told = {"phase": Phase.TRAINING, "progress": Progress(step=5, total=10), "at": 0.0, **fields}
    return Status(session_id="s", job_id=job_id, worker="w", epoch=1, counter=counter, **told)


def manifest(outcome: Outcome, *, job_id: str = "job-1", complete: bool = True, **fields: Any) -> Manifest:
    return Manifest(
        outcome=outcome,
        complete=complete,
        session_id="s",
        job_id=job_id,
        model_name="cats",
        created_at=0.0,
        progress=Progress(step=12, total=12),
        **fields,
    )
