"""Keeps jobs alive towards RunPod that are worked on before the SDK is started, and posts their results.

The SDK asks for the next job as soon as it is started, so what an earlier handler left behind is finished before. As
the SDK does for its own jobs, this pings, hears which jobs are to be stopped, tells how they stand, and answers. Unlike
the SDK it tries for minutes to get a result through. While it carries no job it does nothing, and it leaves no process
and no thread behind.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from handler.wire import Wire, is_refusal
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from handler.stop import StopRequest
    from shared.clock import Clock

Answer = dict[str, Any]
T = TypeVar("T")

# Hours of training are worth some waiting; afterwards RunPod delivers the job again, and the bucket has its answer.
RESULT_SECONDS = 300.0
# After a SIGTERM the drain has had its share of the ten seconds or so; nobody promises more.
LAST_SECONDS = 3.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
STOP_PAUSE_SECONDS = 1.0
_REQUEST_SECONDS = 30.0

log = EventLog("handler")


@asynccontextmanager
async def lifeline(environ: Mapping[str, str], clock: Clock) -> AsyncIterator[Lifeline]:
    """Yield the lifeline of this worker; ``environ`` says where RunPod is."""
    async with httpx.AsyncClient(timeout=_REQUEST_SECONDS, follow_redirects=True) as client:
        yield Lifeline(Wire(environ, client), clock)


class Lifeline:
    """Carries jobs over ``wire``, any number at once."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._wire = wire
        self._clock = clock
        self._jobs: dict[str, asyncio.Task[Answer]] = {}
        self._stopped: set[str] = set()
        self._updates: dict[str, asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._troubled: set[str] = set()

    async def carry(self, job_id: str, work: Coroutine[Any, Any, Answer], stop: StopRequest) -> Answer | None:
        """Return what ``work`` on the job returns, once RunPod has it, or refuses it, or cannot be reached.

        None where RunPod stops the job: ``work`` is cancelled then, and nothing is posted. ``stop`` says that the
        worker has to go. A job that is being carried already is only worked on.
        """
        if job_id in self._jobs:
            return await work
        task = asyncio.ensure_future(work)
        async with self._carried(job_id, task):
            try:
                answer = await task
            except asyncio.CancelledError:
                if job_id in self._stopped:
                    return None
                raise
            await self._post(job_id, answer, stop)
            return answer

    def sender(self, job_id: str) -> Callable[[Mapping[str, Any]], None]:
        """Return what tells how the job stands; it neither waits nor raises. To be called in the event loop."""

        def send(progress: Mapping[str, Any]) -> None:
            if job_id in self._updates:
                self._updates[job_id].cancel()
            self._updates[job_id] = asyncio.ensure_future(self._update(job_id, progress))

        return send

    @asynccontextmanager
    async def _carried(self, job_id: str, task: asyncio.Task[Answer]) -> AsyncIterator[None]:
        """Ping for a job and listen for its end while the block lasts."""
        self._jobs[job_id] = task
        if not self._background:
            self._background = [asyncio.ensure_future(each) for each in (self._ping(), self._listen())]
        try:
            yield
        finally:
            await self._end_updates(job_id)
            del self._jobs[job_id]
            if not self._jobs:
                ended, self._background = self._background, []
                for each in ended:
                    each.cancel()
                await asyncio.wait(ended)

    async def _ping(self) -> None:
        while True:
            await self._noticing("pings", self._wire.ping(tuple(self._jobs)))
            await asyncio.sleep(self._wire.ping_seconds)

    async def _listen(self) -> None:
        while True:
            told = await self._noticing("stops", self._wire.to_stop())
            for job_id in told or ():
                if job_id in self._jobs and job_id not in self._stopped:
                    self._stopped.add(job_id)
                    self._jobs[job_id].cancel()
            await asyncio.sleep(LONGEST_PAUSE_SECONDS if told is None else STOP_PAUSE_SECONDS)

    async def _update(self, job_id: str, progress: Mapping[str, Any]) -> None:
        with suppress(httpx.HTTPError):  # The next one tells more.
            await self._wire.progress(job_id, progress)

    async def _end_updates(self, job_id: str) -> None:
        """Let nothing more be told of a job: what came behind its result would take the result's place."""
        update = self._updates.pop(job_id, None)
        if update is not None:
            update.cancel()
            await asyncio.wait({update})

    async def _post(self, job_id: str, answer: Answer, stop: StopRequest) -> None:
        await self._end_updates(job_id)
        begun, pause = self._clock.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._wire.result(job_id, answer)
            except httpx.HTTPError as error:
                limit = RESULT_SECONDS if stop.reason is None else LAST_SECONDS
                if is_refusal(error) or self._clock.monotonic() - begun >= limit:
                    log.error("result_not_posted", job=job_id, reason=_told(error))
                    return
            else:
                log.info("result_posted", job=job_id)
                return
            # Asked already, it would return at once.
            await (stop.wait(pause) if stop.reason is None else asyncio.sleep(FIRST_PAUSE_SECONDS))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _noticing(self, what: str, request: Coroutine[Any, Any, T]) -> T | None:
        """Return what ``request`` returns, None where it fails: that is logged once, until it succeeds again."""
        try:
            told = await request
        except httpx.HTTPError as error:
            if what not in self._troubled:
                self._troubled.add(what)
                log.warning("runpod_away", what=what, reason=_told(error))
            return None
        self._troubled.discard(what)
        return told


def _told(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"RunPod answered {error.response.status_code}"
    return f"{type(error).__name__} {error}".strip()
