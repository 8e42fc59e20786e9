"""The jobs of a queue and their states, as RunPod's API names them."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Status(StrEnum):
    """RunPod's words for where a job stands."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


@dataclass(slots=True)
class QueuedJob:
    """One job. ``deliveries`` counts how often a worker was given it, ``results`` how often one was posted.

    ``worker`` is who has it, or had it last. Times are monotonic seconds: when it came, was last taken, and was over.
    """

    id: str
    input: dict[str, Any]
    status: Status = Status.IN_QUEUE
    worker: str | None = None
    output: Any = None
    error: Any = None
    progress: list[Any] = field(default_factory=list)
    deliveries: int = 0
    results: int = 0
    pings: int = 0
    came: float = 0.0
    taken: float | None = None
    over: float | None = None

    def shown(self) -> dict[str, Any]:
        """Return the job as RunPod's status call shows it, with the milliseconds that it waited and ran."""
        shown: dict[str, Any] = {"id": self.id, "status": str(self.status)}
        if self.taken is not None:
            shown["delayTime"] = round((self.taken - self.came) * 1000)
        if self.taken is not None and self.over is not None:
            shown["executionTime"] = round((self.over - self.taken) * 1000)
        if self.status is Status.IN_PROGRESS and self.progress:
            shown["output"] = self.progress[-1]
        if self.output is not None:
            shown["output"] = self.output
        if self.error is not None:
            shown["error"] = self.error
        return shown


class Queue:
    """Jobs in the order they came, and whom to tell to stop. Belongs to one event loop. ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.jobs: dict[str, QueuedJob] = {}
        self._waiting: list[QueuedJob] = []
        self._to_stop: list[QueuedJob] = []
        self._changed = asyncio.Condition()

    async def add(self, job_input: dict[str, Any], job_id: str | None = None) -> QueuedJob:
        """Take a job in; one whose id is known is delivered again."""
        job = QueuedJob(job_id or uuid.uuid4().hex, job_input)
        if job.id in self.jobs:
            job = self.jobs[job.id]
            job.status, job.output, job.error = Status.IN_QUEUE, None, None
            job.taken = job.over = None
        job.came = self._clock()
        self.jobs[job.id] = job
        self._waiting.append(job)
        await self._tell()
        return job

    async def take(self, seconds: float, worker: str | None = None) -> QueuedJob | None:
        """Return the next job for ``worker``, waiting up to ``seconds`` for one."""
        if not await self._until(lambda: bool(self._waiting), seconds):
            return None
        job = self._waiting.pop(0)
        job.status = Status.IN_PROGRESS
        job.worker = worker
        job.taken = self._clock()
        job.deliveries += 1
        return job

    async def to_stop(self, seconds: float, worker: str | None = None) -> list[str]:
        """Return the ids of those jobs of ``worker`` that are to be stopped, waiting up to ``seconds`` for one."""

        def its_own() -> list[QueuedJob]:
            return [job for job in self._to_stop if job.worker == worker]

        await self._until(lambda: bool(its_own()), seconds)
        stopped = its_own()
        self._to_stop = [job for job in self._to_stop if job not in stopped]
        return [job.id for job in stopped]

    async def cancel(self, job: QueuedJob) -> None:
        """Cancel a job: it is taken out of the queue, or its worker is told."""
        if job.status in FINAL:
            return
        if job in self._waiting:
            self._waiting.remove(job)
        else:
            self._to_stop.append(job)
        job.status = Status.CANCELLED
        await self._tell()

    def posted(self, job: QueuedJob, payload: dict[str, Any]) -> None:
        """Take what a worker posted: progress, or the result. A cancelled job stays cancelled."""
        if payload.get("status") == Status.IN_PROGRESS:
            job.progress.append(payload.get("output"))
            return
        job.results += 1
        job.over = self._clock()
        job.output, job.error = payload.get("output"), payload.get("error")
        if job.status is not Status.CANCELLED:
            job.status = Status.FAILED if job.error is not None else Status.COMPLETED

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, condition: Any, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return False
        return True
