"""What RunPod is asked and told about a job that the SDK does not hold: in the SDK's own form (1.12), without the SDK.

The SDK pings from a second process, and its functions swallow the errors by which one knows whether to try again.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TAKE, PING, DONE = "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_PING", "RUNPOD_WEBHOOK_POST_OUTPUT"
KEY, WORKER = "RUNPOD_AI_API_KEY", "RUNPOD_POD_ID"
_PING_MILLISECONDS = 10_000
# A long poll: the SDK gives up on it after as many seconds.
_STOP_SECONDS = 90.0
_TRANSIENT = frozenset({408, 425, 429})
_FORM = {"charset": "utf-8", "Content-Type": "application/x-www-form-urlencoded"}


class Wire:
    """The requests of one worker, whose addresses are in ``environ``. Each raises httpx.HTTPError where it fails."""

    def __init__(self, environ: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._client = client
        worker = environ.get(WORKER, "")
        take = environ.get(TAKE, "").replace("$ID", worker)
        self._stop = take.replace("/job-take/", "/job-stop/") if "/job-take/" in take else None
        self._done = environ.get(DONE, "").replace("$RUNPOD_POD_ID", worker)
        # The SDK sends none without key and worker, which it has wherever there is somebody to ping.
        pinged = environ.get(PING) if environ.get(KEY) and worker else None
        self._ping = pinged.replace("$RUNPOD_POD_ID", worker) if pinged else None
        self.ping_seconds = max(1, int(environ.get("RUNPOD_PING_INTERVAL") or _PING_MILLISECONDS) // 1000)
        self._headers = {"Authorization": environ.get(KEY, "")}

    async def ping(self, jobs: Iterable[str]) -> None:
        """Say that ``jobs`` are being worked on."""
        if self._ping is None:
            return
        url = httpx.URL(self._ping).copy_merge_params({"job_id": ",".join(jobs), "runpod_version": _sdk_version()})
        answer = await self._client.get(url, headers=self._headers, timeout=2 * self.ping_seconds)
        answer.raise_for_status()

    async def to_stop(self) -> list[str]:
        """Return the ids of jobs that are to be stopped: at once where there are any, else when RunPod likes."""
        if self._stop is None:
            return []
        answer = await self._client.get(self._stop, headers=self._headers, timeout=_STOP_SECONDS)
        answer.raise_for_status()
        try:
            told = answer.json()
        except ValueError:
            return []
        ids = told.get("jobsToStop") if isinstance(told, dict) else None
        return [each for each in ids if isinstance(each, str)] if isinstance(ids, list) else []

    async def progress(self, job_id: str, progress: Mapping[str, Any]) -> None:
        """Tell how a job stands."""
        await self._post(job_id, {"status": "IN_PROGRESS", "output": dict(progress)})

    async def result(self, job_id: str, answer: Mapping[str, Any]) -> None:
        """Tell how a job ended: ``answer`` is what a handler would return to the SDK."""
        await self._post(job_id, as_result(answer))

    async def _post(self, job_id: str, payload: Mapping[str, Any]) -> None:
        url = self._done.replace("$ID", job_id) + "&isStream=false"
        headers = {**self._headers, **_FORM, "X-Request-ID": job_id}
        content = json.dumps(payload, ensure_ascii=False).encode(errors="replace")
        (await self._client.post(url, content=content, headers=headers)).raise_for_status()


def is_queue(environ: Mapping[str, str]) -> bool:
    """Return whether this worker has its jobs from RunPod, which wants their results."""
    return bool(environ.get(TAKE) and environ.get(DONE))


def is_refusal(error: httpx.HTTPError) -> bool:
    """Return whether RunPod has understood and does not want it, so that trying again is of no use."""
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    status = error.response.status_code
    return status < 500 and status not in _TRANSIENT


def as_result(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the SDK makes of a handler's answer: an error, and the worker's end, are said beside the output."""
    output = dict(answer)
    error, ends = output.pop("error", None), output.pop("refresh_worker", None)
    return {"output": output, **({"error": error} if error else {}), **({"stopPod": True} if ends else {})}


def _sdk_version() -> str:
    try:
        return version("runpod")
    except PackageNotFoundError:
        return ""
