"""The stand-in for RunPod's queue behaves as the SDK's worker and its client see the real one."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx

import local.queue.app
from local.queue.app import QueueApp, worker_variables
from local.queue.jobs import Queue, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

BASE = "http://queue/v2/local"


def with_client(test: Callable[[QueueApp, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def running() -> None:
        app = QueueApp()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app.app)) as client:
            await test(app, client)

    asyncio.run(running())


async def sent(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post(f"{BASE}/run", json={"input": {"a": 1}, **body})
    assert answer.json()["status"] == "IN_QUEUE"
    return str(answer.json()["id"])


async def posted(client: httpx.AsyncClient, job: str, payload: dict[str, Any]) -> httpx.Response:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await client.post(f"{BASE}/job-done/w/{job}", content=json.dumps(payload), headers=form)


async def shown(client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get(f"{BASE}/status/{job}")).json()
    return answer


def test_a_job_from_its_sending_to_its_result() -> None:
    async def test(app: QueueApp, client: httpx.AsyncClient) -> None:
        job = await sent(client)
        taken = await client.get(f"{BASE}/job-take/w?gpu=none")
        assert taken.json() == {"id": job, "input": {"a": 1}}
        assert (await shown(client, job))["status"] == "IN_PROGRESS"
        await posted(client, job, {"status": "IN_PROGRESS", "output": {"step": 3}})
        assert await shown(client, job) == {"id": job, "status": "IN_PROGRESS", "output": {"step": 3}}
        await client.get(f"{BASE}/ping/w?job_id={job},unknown")
        await posted(client, job, {"output": {"success": True}})
        assert await shown(client, job) == {"id": job, "status": "COMPLETED", "output": {"success": True}}
        known = app.queue.jobs[job]
        assert (known.pings, known.deliveries, known.results) == (1, 1, 1)

    with_client(test)


def test_an_error_makes_a_job_fail_and_keeps_the_rest() -> None:
    async def test(_: QueueApp, client: httpx.AsyncClient) -> None:
        job = await sent(client)
        await client.get(f"{BASE}/job-take/w")
        await posted(client, job, {"error": "It failed.", "output": {"success": False}})
        assert await shown(client, job) == {
            "id": job,
            "status": "FAILED",
            "error": "It failed.",
            "output": {"success": False},
        }

    with_client(test)


def test_an_empty_queue_has_nothing_to_take_and_nobody_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.queue.app, "TAKE_SECONDS", 0.01)

    async def test(_: QueueApp, client: httpx.AsyncClient) -> None:
        assert (await client.get(f"{BASE}/job-take/w")).status_code == 204
        assert (await client.get(f"{BASE}/job-stop/w")).status_code == 204
        assert (await client.get(f"{BASE}/status/unknown")).status_code == 404
        assert (await client.post(f"{BASE}/cancel/unknown")).status_code == 404

    with_client(test)


def test_a_take_that_waits_gets_the_job_that_comes() -> None:
    async def test(_: QueueApp, client: httpx.AsyncClient) -> None:
        take = asyncio.create_task(client.get(f"{BASE}/job-take/w"))
        await asyncio.sleep(0)
        job = await sent(client)
        assert (await take).json()["id"] == job

    with_client(test)


def test_a_cancelled_job_is_told_to_its_worker_and_stays_cancelled() -> None:
    async def test(_: QueueApp, client: httpx.AsyncClient) -> None:
        job = await sent(client)
        await client.get(f"{BASE}/job-take/w")
        await client.post(f"{BASE}/cancel/{job}")
        assert (await client.get(f"{BASE}/job-stop/w")).json() == {"jobsToStop": [job]}
        await posted(client, job, {"output": {"success": True}})
        assert (await shown(client, job))["status"] == "CANCELLED"

    with_client(test)


def test_a_job_that_nobody_has_taken_is_cancelled_by_itself() -> None:
    async def running() -> None:
        queue = Queue()
        job = await queue.add({})
        await queue.cancel(job)
        assert job.status is Status.CANCELLED
        assert await queue.take(0) is None
        assert await queue.to_stop(0) == []

    asyncio.run(running())


def test_a_known_id_is_delivered_again() -> None:
    async def running() -> None:
        queue = Queue()
        first = await queue.add({"a": 1}, "one")
        assert await queue.take(0) is first
        queue.posted(first, {"output": 1})
        again = await queue.add({"a": 1}, "one")
        assert again is first
        assert (again.status, again.output) == (Status.IN_QUEUE, None)
        assert await queue.take(0) is first
        assert first.deliveries == 2

    asyncio.run(running())


def test_a_network_that_loses_results_loses_no_progress() -> None:
    async def test(app: QueueApp, client: httpx.AsyncClient) -> None:
        job = await sent(client)
        await client.get(f"{BASE}/job-take/w")
        app.lose_results = True
        assert (await posted(client, job, {"status": "IN_PROGRESS", "output": 1})).status_code == 200
        assert (await posted(client, job, {"output": 1})).status_code == 400
        assert (await shown(client, job))["status"] == "IN_PROGRESS"

    with_client(test)


def test_the_sdk_is_pointed_at_the_queue_with_all_that_it_wants() -> None:
    known = worker_variables("http://queue")
    assert known["RUNPOD_WEBHOOK_GET_JOB"].startswith("http://queue/v2/local/job-take/$ID?")
    assert "$RUNPOD_POD_ID/$ID" in known["RUNPOD_WEBHOOK_POST_OUTPUT"]
    assert int(known["RUNPOD_PING_INTERVAL"]) >= 1000
