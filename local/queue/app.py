"""The HTTP side of the queue: the paths, statuses and bodies that RunPod's SDK uses, worker and client alike.

As observed with SDK 1.12.0: a take answers 200 with the job or 204; a result is JSON sent with a form's content type;
progress comes to the same address with ``status: IN_PROGRESS``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.queue.jobs import Queue, QueuedJob

if TYPE_CHECKING:
    from starlette.requests import Request

# RunPod holds a take open for some time; a worker that stops waits for it, so the stand-in keeps it short.
TAKE_SECONDS = 20.0


class QueueApp:
    """An ASGI app around one queue. ``lose_results`` makes it drop results as a broken network would.

    ``polls`` counts how often a worker has asked for a job.
    """

    def __init__(self) -> None:
        self.queue = Queue()
        self.lose_results = False
        self.polls = 0
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

    async def _take(self, _request: Request) -> Response:
        self.polls += 1
        job = await self.queue.take(TAKE_SECONDS)
        return Response(status_code=204) if job is None else JSONResponse({"id": job.id, "input": job.input})

    async def _stop(self, _request: Request) -> Response:
        ids = await self.queue.to_stop(TAKE_SECONDS)
        return JSONResponse({"jobsToStop": ids}) if ids else Response(status_code=204)

    async def _done(self, request: Request) -> Response:
        job = self._job(request)
        payload: dict[str, Any] = json.loads(await request.body())
        if self.lose_results and payload.get("status") != "IN_PROGRESS":
            return Response(status_code=400)
        if job is not None:
            self.queue.posted(job, payload)
        return JSONResponse({})

    async def _ping(self, request: Request) -> Response:
        for job_id in request.query_params.get("job_id", "").split(","):
            if job_id in self.queue.jobs:
                self.queue.jobs[job_id].pings += 1
        return JSONResponse({})

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


def _unknown() -> Response:
    return JSONResponse({"error": "job not found"}, status_code=404)
