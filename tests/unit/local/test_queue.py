"""The stand-in for RunPod's queue behaves as the SDK's worker and its client see the real one."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import local.queue.app
from local.background import served
from local.queue.app import Loss, QueueApp, worker_variables
from local.queue.heard import Kind
from local.queue.jobs import Queue, Status
from tests.unit.handler.toolkits import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    return {name: value for name, value in answer.items() if not name.endswith("Time")}


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


def test_of_two_workers_each_is_told_to_stop_its_own_job() -> None:
    async def test(app: QueueApp, client: httpx.AsyncClient) -> None:
        jobs = [await sent(client) for _ in range(2)]
        for worker, job in zip("ab", jobs, strict=True):
            assert (await client.get(f"{BASE}/job-take/{worker}")).json()["id"] == job
            assert app.queue.jobs[job].worker == worker
        first = asyncio.ensure_future(client.get(f"{BASE}/job-stop/a"))
        await until(lambda: bool(app.heard_of(Kind.STOP)))
        await client.post(f"{BASE}/cancel/{jobs[1]}")
        assert (await client.get(f"{BASE}/job-stop/b")).json() == {"jobsToStop": [jobs[1]]}
        await client.post(f"{BASE}/cancel/{jobs[0]}")
        assert (await first).json() == {"jobsToStop": [jobs[0]]}

    with_client(test)


def test_what_workers_ask_and_tell_is_kept_in_its_order() -> None:
    async def test(app: QueueApp, client: httpx.AsyncClient) -> None:
        job = await sent(client)
        await client.get(f"{BASE}/job-take/a?gpu=none", headers={"Authorization": "key"})
        await client.get(f"{BASE}/ping/b?job_id={job},other")
        await posted(client, job, {"status": "IN_PROGRESS", "output": 1})
        await posted(client, job, {"output": 2})
        told = [(heard.kind, heard.worker, heard.jobs) for heard in app.heard]
        assert told == [
            (Kind.TAKE, "a", ()),
            (Kind.PING, "b", (job, "other")),
            (Kind.PROGRESS, "w", (job,)),
            (Kind.RESULT, "w", (job,)),
        ]
        assert (app.heard[0].query, app.heard[0].headers["authorization"]) == ({"gpu": "none"}, "key")
        assert app.heard_of(Kind.RESULT, job) == [app.heard[3]]
        assert (app.heard[3].payload, app.polls) == ({"output": 2}, 1)

    with_client(test)


def test_results_meet_what_awaits_them() -> None:
    app = QueueApp()
    with served(app.app, app.connections.attach) as url, httpx.Client(base_url=f"{url}/v2/local") as client:
        client.post("/run", json={"id": "one", "input": {}})
        client.get("/job-take/w")
        app.fates.extend([503, Loss.RESULT, Loss.ANSWER])

        def post(output: int) -> httpx.Response:
            return client.post("/job-done/w/one", json={"output": output})

        assert post(1).status_code == 503
        with pytest.raises(httpx.TransportError):
            post(2)
        assert app.queue.jobs["one"].results == 0
        with pytest.raises(httpx.TransportError):
            post(3)
        assert (app.queue.jobs["one"].results, app.queue.jobs["one"].output) == (1, 3)
        assert post(4).status_code == 200


def test_a_worker_that_is_gone_is_given_no_job() -> None:
    app = QueueApp()
    with served(app.app, app.connections.attach) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{url}/v2/local/job-take/dead", timeout=0.2)
        httpx.post(f"{url}/v2/local/run", json={"id": "one", "input": {}})
        assert httpx.get(f"{url}/v2/local/job-take/alive").json()["id"] == "one"
    assert app.queue.jobs["one"].worker == "alive"


def test_it_tells_how_long_a_job_waited_and_ran() -> None:
    async def running() -> None:
        now = 0.0
        queue = Queue(lambda: now)
        job = await queue.add({}, "one")
        assert not {"delayTime", "executionTime"} & set(job.shown())
        now = 1.5
        await queue.take(0)
        assert job.shown()["delayTime"] == 1500
        now = 4.0
        queue.posted(job, {"status": "IN_PROGRESS", "output": 1})
        assert "executionTime" not in job.shown()
        queue.posted(job, {"output": 1})
        assert (job.shown()["delayTime"], job.shown()["executionTime"]) == (1500, 2500)
        await queue.add({}, "one")
        assert "delayTime" not in job.shown()

    asyncio.run(running())


def test_the_command_prints_what_worker_and_client_need_and_ends_when_told() -> None:
    command = [sys.executable, "-m", "local", "queue"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told: dict[str, str] = {}
        while "RUNPOD_ENDPOINT_BASE_URL" not in told:
            [word, assignment] = shlex.split(process.stdout.readline())
            assert word == "export"
            name, _, value = assignment.partition("=")
            told[name] = value
        with httpx.Client(base_url=told["RUNPOD_ENDPOINT_BASE_URL"]) as client:
            job = client.post("/local/run", json={"input": {"a": 1}}).json()["id"]
            take = told["RUNPOD_WEBHOOK_GET_JOB"].replace("$ID", "worker")
            assert client.get(take).json() == {"id": job, "input": {"a": 1}}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


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
