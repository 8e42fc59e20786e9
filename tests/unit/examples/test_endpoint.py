"""The SDK's calls as the client makes them, against the stand-in for RunPod's queue, and against servers that fail."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from examples.client.endpoint import Endpoint, EndpointError, JobState, Trouble
from local.background import served
from local.queue.app import QueueApp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

BODY = {"input": {"config": "x"}, "policy": {"ttl": 5}}


@pytest.fixture
def queue() -> QueueApp:
    return QueueApp()


@pytest.fixture
def endpoint(queue: QueueApp) -> Iterator[Endpoint]:
    with served(queue.app) as url:
        yield Endpoint(f"{url}/v2/local/", None)


def trouble(call: Any) -> EndpointError:
    with pytest.raises(EndpointError) as raised:
        call()
    return raised.value


def test_a_job_is_sent_looked_at_and_cancelled(endpoint: Endpoint, queue: QueueApp) -> None:
    job_id = endpoint.send(BODY)
    job = queue.queue.jobs[job_id]
    assert job.input == BODY["input"]
    assert endpoint.look(job_id) == JobState("IN_QUEUE")
    job.status, job.progress = type(job.status)("IN_PROGRESS"), [{"phase": "training", "step": 3}]
    assert endpoint.look(job_id) == JobState("IN_PROGRESS", {"phase": "training", "step": 3})
    endpoint.cancel(job_id)
    assert endpoint.look(job_id).status == "CANCELLED"
    assert trouble(lambda: endpoint.look("none")).trouble is Trouble.UNKNOWN
    assert trouble(lambda: endpoint.cancel("none")).trouble is Trouble.UNKNOWN


def test_an_id_alone_is_one_of_runpods_and_needs_a_key() -> None:
    assert Endpoint("abc123", "key").address == "https://api.runpod.ai/v2/abc123"
    assert Endpoint("abc123", None, "http://127.0.0.1:8000/v2/").address == "http://127.0.0.1:8000/v2/abc123"
    assert "RUNPOD_API_KEY is not set" in trouble(lambda: Endpoint("abc123", None)).sentence


@pytest.mark.parametrize(
    ("answer", "meant", "says"),
    [
        (PlainTextResponse("", 401), Trouble.REFUSED, "Check RUNPOD_API_KEY"),
        (PlainTextResponse("", 403), Trouble.REFUSED, "Check RUNPOD_API_KEY"),
        (PlainTextResponse("", 404), Trouble.UNKNOWN, "there is no such endpoint"),
        (JSONResponse({"error": "bad\ninput"}, 400), Trouble.REFUSED, 'RunPod answers 400, {"error":"bad\\ninput"}'),
        (PlainTextResponse("", 429), Trouble.BUSY, "less often"),
        (PlainTextResponse("<html>", 502), Trouble.UNSURE, "RunPod answers 502. Perhaps it was taken"),
        (PlainTextResponse("<html>", 200), Trouble.UNSURE, "not RunPod's"),
        (JSONResponse([1], 200), Trouble.UNSURE, "not RunPod's"),
        (JSONResponse({}, 200), Trouble.REFUSED, "names no id"),
    ],
)
def test_what_goes_wrong_is_told_apart(answer: Response, meant: Trouble, says: str) -> None:
    async def run(_request: Request) -> Response:
        return answer

    async def health(_request: Request) -> Response:
        return JSONResponse({})

    app = Starlette(routes=[Route("/e/run", run, methods=["POST"]), Route("/e/health", health)])
    with served(app) as url:
        error = trouble(lambda: Endpoint(f"{url}/e", None).send(BODY))
    assert (error.trouble, says in error.sentence) == (meant, True), error.sentence


def test_nothing_is_sent_where_nobody_answers() -> None:
    error = trouble(lambda: Endpoint("http://127.0.0.1:9/e", None).send(BODY))
    assert error.trouble is Trouble.AWAY
    assert "Reaching http://127.0.0.1:9/e failed: there is no connection" in error.sentence


def test_where_a_status_is_asked_by_post_the_job_runs_meanwhile() -> None:
    go_on, asked = threading.Event(), threading.Event()

    async def run_to_the_end(_request: Request) -> Response:
        asked.set()
        await asyncio.to_thread(go_on.wait, 30)
        return JSONResponse({"id": "1", "status": "COMPLETED", "output": {"success": True}})

    with served(Starlette(routes=[Route("/status/{job}", run_to_the_end, methods=["POST"])])) as url:
        endpoint = Endpoint(url, None)
        assert endpoint.look("1") == JobState("IN_PROGRESS")
        assert asked.wait(30)
        assert endpoint.look("1") == JobState("IN_PROGRESS")
        go_on.set()
        endpoint._asked["1"].exception(30)
        assert endpoint.look("1") == JobState("COMPLETED", {"success": True})


def test_a_job_that_the_local_server_has_forgotten_is_unknown() -> None:
    async def forgotten(_request: Request) -> Response:
        return JSONResponse({"id": "1", "status": "FAILED", "error": "Job ID not found"})

    with served(Starlette(routes=[Route("/status/{job}", forgotten, methods=["POST"])])) as url:
        endpoint = Endpoint(url, None)
        endpoint.look("1")
        endpoint._asked["1"].exception(30)
        assert trouble(lambda: endpoint.look("1")).trouble is Trouble.UNKNOWN
