"""What goes to RunPod has the SDK's own form."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from handler.wire import Wire, as_result, is_queue, is_refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENVIRON = {
    "RUNPOD_POD_ID": "pod",
    "RUNPOD_AI_API_KEY": "the-key",
    "RUNPOD_WEBHOOK_GET_JOB": "https://queue/job-take/$ID?gpu=x",
    "RUNPOD_WEBHOOK_POST_OUTPUT": "https://queue/job-done/$RUNPOD_POD_ID/$ID?gpu=x",
    "RUNPOD_WEBHOOK_PING": "https://queue/ping/$RUNPOD_POD_ID?gpu=x",
    "RUNPOD_PING_INTERVAL": "2500",
}


def asked(
    question: Callable[[Wire], Awaitable[Any]],
    answer: httpx.Response | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[Any, list[httpx.Request]]:
    """Return what a question over a wire brings, and the requests that were made of it."""
    requests = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answer or httpx.Response(200)

    async def running() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as client:
            return await question(Wire(ENVIRON if environ is None else environ, client))

    return asyncio.run(running()), requests


def test_a_ping_names_the_jobs_and_keeps_what_the_address_says() -> None:
    _, (request,) = asked(lambda wire: wire.ping(["one", "two"]))
    assert request.url.copy_with(query=None) == "https://queue/ping/pod"
    assert request.url.params["gpu"] == "x"
    assert request.url.params["job_id"] == "one,two"
    assert request.headers["authorization"] == "the-key"


@pytest.mark.parametrize("name", ["RUNPOD_AI_API_KEY", "RUNPOD_POD_ID", "RUNPOD_WEBHOOK_PING"])
def test_without_key_worker_or_address_there_are_no_pings_as_with_the_sdk(name: str) -> None:
    environ = {known: value for known, value in ENVIRON.items() if known != name}
    assert asked(lambda wire: wire.ping(["one"]), environ=environ) == (None, [])


@pytest.mark.parametrize(("told", "seconds"), [("2500", 2), ("300", 1), ("", 10)])
def test_the_pace_of_pings_is_the_sdks(told: str, seconds: int) -> None:
    assert Wire({**ENVIRON, "RUNPOD_PING_INTERVAL": told}, httpx.AsyncClient()).ping_seconds == seconds


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        (httpx.Response(200, json={"jobsToStop": ["one", 2, "three"]}), ["one", "three"]),
        (httpx.Response(200, json={"jobsToStop": None}), []),
        (httpx.Response(200, json=["one"]), []),
        (httpx.Response(200, text="<html>"), []),
        (httpx.Response(204), []),
    ],
)
def test_what_is_to_be_stopped_is_asked_where_jobs_are_taken(answer: httpx.Response, ids: list[str]) -> None:
    told, (request,) = asked(lambda wire: wire.to_stop(), answer)
    assert told == ids
    assert request.url == "https://queue/job-stop/pod?gpu=x"


def test_a_queue_without_a_stop_channel_is_not_asked() -> None:
    environ = {**ENVIRON, "RUNPOD_WEBHOOK_GET_JOB": "https://queue/elsewhere"}
    assert asked(lambda wire: wire.to_stop(), environ=environ) == ([], [])


def test_a_result_is_json_in_a_form_and_progress_says_what_it_is() -> None:
    _, (result,) = asked(lambda wire: wire.result("one", {"success": False, "error": "Nö.", "refresh_worker": True}))
    assert result.url == "https://queue/job-done/pod/one?gpu=x&isStream=false"
    assert (result.method, result.headers["content-type"]) == ("POST", "application/x-www-form-urlencoded")
    assert json.loads(result.content) == {"output": {"success": False}, "error": "Nö.", "stopPod": True}
    assert "Nö." in result.content.decode()
    _, (progress,) = asked(lambda wire: wire.progress("one", {"step": 3}))
    assert progress.url == result.url
    assert json.loads(progress.content) == {"status": "IN_PROGRESS", "output": {"step": 3}}


def test_a_name_that_is_no_unicode_is_no_reason_not_to_answer() -> None:
    _, (result,) = asked(lambda wire: wire.result("one", {"missing": ["\udcff.pt"]}))
    assert json.loads(result.content) == {"output": {"missing": ["?.pt"]}}


def test_a_good_answer_is_output_alone() -> None:
    assert as_result({"success": True, "error": None}) == {"output": {"success": True}}


@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (404, True), (408, False), (429, False), (500, False), (503, False)]
)
def test_a_refusal_is_final_and_trouble_is_not(status: int, final: bool) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        asked(lambda wire: wire.result("one", {}), httpx.Response(status))
    assert is_refusal(refused.value) is final
    assert not is_refusal(httpx.ConnectError("no"))


def test_a_worker_of_a_queue_is_told_where_it_is() -> None:
    assert is_queue(ENVIRON)
    for name in ("RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT"):
        assert not is_queue({**ENVIRON, name: ""})
