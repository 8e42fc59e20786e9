"""The HTTP side of the queue: the paths, statuses and bodies that RunPod's SDK uses, worker and client alike.

As observed with SDK 1.12.0: a take answers 200 with the job or 204; a result is JSON sent with a form's content type;
progress comes to the same address with ``status: IN_PROGRESS``.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.queue.heard import Heard, Kind
from local.queue.jobs import Queue, QueuedJob, Status
from local.storage.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.requests import Request

# RunPod holds a take open for some time; a worker that stops waits for it, so the stand-in keeps it short.
TAKE_SECONDS = 20.0

T = TypeVar("T")


class Loss(StrEnum):
    """How a result is lost on the way: before the queue has taken it, or, with its answer, afterwards."""

    RESULT = "result"
    ANSWER = "answer"


class QueueApp:
    """An ASGI app around one queue. ``lose_results`` makes it drop results as a broken network would.

    ``heard`` is what the workers have asked and told. ``fates`` are what the next results meet, one each: a status that
    refuses it, or a connection that is cut off, which takes a server whose connections have been attached.
    """

    def __init__(self) -> None:
        self.queue = Queue()
        self.heard: list[Heard] = []
        self.lose_results = False
        self.fates: deque[int | Loss] = deque()
        self.connections = Connections()
        base = "/v2/{endpoint}"
        self.app = Starlette(
            routes=[
                Route(f"{base}/run", self._run, methods=["POST"]),
                Route(f"{base}/status/{{job}}", self._status),
                Route(f"{base}/cancel/{{job}}", self._cancel, methods=["POST"]),
                Route(f"{base}/job-take/{{worker}}", self._take),
                Route(f"{base}/job-stop/{{worker}}", self._stop),
                Route(f"{base}/job-done/{{worker}}/{{job}}", self._done, methods=["POST"]),
                Route(f"{base}/ping/{{worker}}", self._ping),
            ]
        )

    @property
    def polls(self) -> int:
        """How often a worker has asked for a job."""
        return len(self.heard_of(Kind.TAKE))

    def heard_of(self, kind: Kind, job_id: str | None = None) -> list[Heard]:
        """Return the requests of one kind; with ``job_id`` only those that name the job."""
        return [heard for heard in self.heard if heard.kind is kind and (job_id is None or job_id in heard.jobs)]

    async def _run(self, request: Request) -> Response:
        body = await request.json()
        job = await self.queue.add(body.get("input", {}), body.get("id"))
        return JSONResponse({"id": job.id, "status": str(job.status)})

    async def _status(self, request: Request) -> Response:
        job = self._job(request)
        return _unknown() if job is None else JSONResponse(job.shown())

    async def _cancel(self, request: Request) -> Response:
        job = self._job(request)
        if job is None:
            return _unknown()
        await self.queue.cancel(job)
        return JSONResponse(job.shown())

    async def _take(self, request: Request) -> Response:
        self._hear(Kind.TAKE, request)
        job = await _unless_gone(request, self.queue.take(TAKE_SECONDS, _worker(request)))
        return Response(status_code=204) if job is None else JSONResponse({"id": job.id, "input": job.input})

    async def _stop(self, request: Request) -> Response:
        self._hear(Kind.STOP, request)
        ids = await _unless_gone(request, self.queue.to_stop(TAKE_SECONDS, _worker(request)))
        return JSONResponse({"jobsToStop": ids}) if ids else Response(status_code=204)

    async def _done(self, request: Request) -> Response:
        job = self._job(request)
        payload: dict[str, Any] = json.loads(await request.body())
        is_progress = payload.get("status") == Status.IN_PROGRESS
        self._hear(Kind.PROGRESS if is_progress else Kind.RESULT, request, request.path_params["job"], payload=payload)
        if is_progress:
            return self._posted(job, payload)
        if self.lose_results:
            return Response(status_code=400)
        fate = self.fates.popleft() if self.fates else None
        if isinstance(fate, int):
            return Response(status_code=fate)
        if fate is Loss.RESULT:
            return self._cut_off(request)
        answer = self._posted(job, payload)
        return self._cut_off(request) if fate is Loss.ANSWER else answer

    async def _ping(self, request: Request) -> Response:
        named = [job_id for job_id in request.query_params.get("job_id", "").split(",") if job_id]
        self._hear(Kind.PING, request, *named)
        for job_id in named:
            if job_id in self.queue.jobs:
                self.queue.jobs[job_id].pings += 1
        return JSONResponse({})

    def _posted(self, job: QueuedJob | None, payload: dict[str, Any]) -> Response:
        if job is not None:
            self.queue.posted(job, payload)
        return JSONResponse({})

    def _cut_off(self, request: Request) -> Response:
        self.connections.abort(request.scope)
        return Response()

    def _hear(self, kind: Kind, request: Request, *jobs: str, payload: dict[str, Any] | None = None) -> None:
        query, headers = dict(request.query_params), dict(request.headers)
        self.heard.append(Heard(kind, _worker(request), jobs, query, headers, payload))

    def _job(self, request: Request) -> QueuedJob | None:
        return self.queue.jobs.get(request.path_params["job"])


def worker_variables(url: str, endpoint: str = "local") -> dict[str, str]:
    """Return the environment that makes RunPod's SDK a worker of the queue at ``url``; it does not check the host."""
    base = f"{url}/v2/{endpoint}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
        "RUNPOD_AI_API_KEY": "local-queue-key",
        "RUNPOD_PING_INTERVAL": "2000",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }


async def _unless_gone(request: Request, waiting: Coroutine[Any, Any, T]) -> T | None:
    """Return what ``waiting`` returns, or None as soon as nobody is there any more to be given it."""
    task, gone = asyncio.ensure_future(waiting), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _worker(request: Request) -> str:
    return str(request.path_params["worker"])


def _unknown() -> Response:
    return JSONResponse({"error": "job not found"}, status_code=404)
