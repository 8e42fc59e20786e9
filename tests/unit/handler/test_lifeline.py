"""Jobs are kept alive, stopped and answered without the SDK, and nothing is left running afterwards."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import handler.lifeline
from handler.lifeline import LAST_SECONDS, RESULT_SECONDS, Lifeline
from handler.stop import Stop, StopRequest
from handler.wire import Wire
from local.queue.app import QueueApp, worker_variables
from local.queue.heard import Kind
from local.queue.jobs import Status
from tests.unit.handler.made import FakeClock
from tests.unit.handler.toolkits import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ANSWER = {"success": True}


class Bench:
    """A lifeline to a queue in this process. ``trouble`` is what its next posts meet before they get there."""

    def __init__(self, client: httpx.AsyncClient, app: QueueApp, clock: FakeClock) -> None:
        environ = {**worker_variables("http://queue"), "RUNPOD_POD_ID": "pod"}
        self.line = Lifeline(Wire(environ, client), clock)
        self.app = app
        self.clock = clock
        self.stop = StopRequest()
        self.end = asyncio.Event()

    async def work(self) -> dict[str, Any]:
        await self.end.wait()
        return ANSWER

    async def taken(self, job_id: str) -> None:
        """Let the worker take a job as the SDK does."""
        await self.app.queue.add({}, job_id)
        await self.app.queue.take(0, "pod")

    def carry(self, job_id: str) -> asyncio.Task[dict[str, Any] | None]:
        return asyncio.ensure_future(self.line.carry(job_id, self.work(), self.stop))

    def heard(self, kind: Kind) -> list[tuple[str, ...]]:
        return [each.jobs for each in self.app.heard_of(kind)]


class Transport(httpx.ASGITransport):
    """The way to the queue, on which posts meet trouble: each an error, or a pause until ``let_go``."""

    def __init__(self, app: QueueApp) -> None:
        super().__init__(app.app)
        self.errors: list[httpx.TransportError] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.errors and request.method == "POST":
            raise self.errors.pop(0)
        return await super().handle_async_request(request)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "STOP_PAUSE_SECONDS"):
        monkeypatch.setattr(handler.lifeline, name, 0.01)


def running(test: Callable[[Bench, Transport], Awaitable[None]]) -> None:
    async def whole() -> None:
        app = QueueApp()
        transport = Transport(app)
        async with httpx.AsyncClient(transport=transport) as client:
            await test(Bench(client, app, FakeClock()), transport)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "something was left running"

    asyncio.run(whole())


def test_a_job_is_pinged_until_its_result_is_posted_and_then_no_more() -> None:
    async def test(bench: Bench, _: Transport) -> None:
        await bench.taken("one")
        carried = bench.carry("one")
        await until(lambda: bench.heard(Kind.PING) == [("one",)])
        assert bench.heard(Kind.RESULT) == []
        bench.end.set()
        assert await carried == ANSWER
        assert bench.app.queue.jobs["one"].output == ANSWER
        assert bench.heard(Kind.TAKE) == []

    running(test)


def test_two_jobs_are_kept_alive_together_and_only_the_one_that_is_stopped_ends() -> None:
    async def test(bench: Bench, _: Transport) -> None:
        for job_id in ("one", "two"):
            await bench.taken(job_id)
        first, second = bench.carry("one"), bench.carry("two")
        await until(lambda: bench.heard(Kind.PING) == [("one", "two")])
        await bench.app.queue.cancel(bench.app.queue.jobs["one"])
        assert await first is None
        bench.end.set()
        assert await second == ANSWER
        assert bench.heard(Kind.RESULT) == [("two",)]

    running(test)


def test_a_stopped_job_has_its_time_to_end_and_is_told_to_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[None] = []

    async def test(bench: Bench, _: Transport) -> None:
        async def work() -> dict[str, Any]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(None)
                await bench.end.wait()
                raise
            raise AssertionError

        told = 0

        async def stops() -> list[str]:
            nonlocal told
            told += 1
            return ["one", "another's"]

        monkeypatch.setattr(bench.line._wire, "to_stop", stops)
        carried = asyncio.ensure_future(bench.line.carry("one", work(), bench.stop))
        await until(lambda: told > 3)
        bench.end.set()
        assert await carried is None
        assert len(cancelled) == 1

    running(test)


@pytest.mark.guarantee("handler-death", fault="RunPod answers the result with 503, 429 or a cut connection")
def test_a_result_is_posted_again_until_it_gets_through() -> None:
    async def test(bench: Bench, transport: Transport) -> None:
        await bench.taken("one")
        bench.app.fates.extend([503, 429])
        transport.errors += [httpx.ReadError("reset"), httpx.ConnectTimeout("")]
        bench.end.set()
        assert await bench.carry("one") == ANSWER
        assert bench.app.queue.jobs["one"].status is Status.COMPLETED
        assert len(bench.heard(Kind.RESULT)) == 3

    running(test)


@pytest.mark.guarantee("handler-death", fault="RunPod refuses the result because another worker has the job by now")
def test_a_result_that_is_refused_is_told_in_one_line_and_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench, _: Transport) -> None:
        bench.app.fates.append(404)
        bench.end.set()
        assert await bench.carry("one") == ANSWER
        assert len(bench.heard(Kind.RESULT)) == 1

    with caplog.at_level(logging.INFO):
        running(test)
    assert [record.getMessage() for record in caplog.records if record.name == "handler"] == [
        "result_not_posted job=one reason='RunPod answered 404'"
    ]


@pytest.mark.guarantee("every-wait-ends", fault="RunPod is away for good when the result is to be posted")
@pytest.mark.parametrize("hurried", [False, True], ids=["patient", "told to stop"])
def test_a_result_that_never_gets_through_is_given_up(hurried: bool, caplog: pytest.LogCaptureFixture) -> None:
    limit = LAST_SECONDS if hurried else RESULT_SECONDS

    async def test(bench: Bench, _: Transport) -> None:
        bench.app.fates.extend([503] * 1000)
        if hurried:
            bench.stop.ask(Stop.INTERRUPTED)
        bench.end.set()
        carried = bench.carry("one")
        await until(lambda: len(bench.heard(Kind.RESULT)) > 2)
        bench.clock.passed += limit - 0.1
        tried = len(bench.heard(Kind.RESULT))
        await until(lambda: len(bench.heard(Kind.RESULT)) > tried + 1)
        assert not carried.done()
        bench.clock.passed += 0.1
        assert await carried == ANSWER

    running(test)
    assert "result_not_posted job=one" in caplog.text


def test_progress_that_is_still_under_way_never_comes_behind_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench, _: Transport) -> None:
        await bench.taken("one")
        arrived: list[object] = []
        results: list[int] = []

        async def slow(_: str, progress: dict[str, Any]) -> None:
            arrived.append(progress["step"])
            try:
                await asyncio.Event().wait()
            finally:
                results.append(len(bench.heard(Kind.RESULT)))

        monkeypatch.setattr(bench.line._wire, "progress", slow)
        carried, send = bench.carry("one"), bench.line.sender("one")
        send({"step": 1})
        await until(lambda: arrived == [1])
        send({"step": 2})
        await until(lambda: arrived == [1, 2])
        bench.end.set()
        assert await carried == ANSWER
        assert results == [0, 0]

    running(test)


def test_progress_is_told_and_a_loss_of_it_matters_to_nobody() -> None:
    async def test(bench: Bench, transport: Transport) -> None:
        await bench.taken("one")
        carried, send = bench.carry("one"), bench.line.sender("one")
        transport.errors.append(httpx.ReadError("reset"))
        send({"step": 1})
        await until(lambda: transport.errors == [])
        send({"step": 2})
        await until(lambda: bench.app.queue.jobs["one"].progress == [{"step": 2}])
        bench.end.set()
        assert await carried == ANSWER

    running(test)


def test_a_runpod_that_is_away_is_mentioned_once_and_again_when_it_was_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [503, 503, 200, 503, 503]

    async def test(bench: Bench, _: Transport) -> None:
        async def ping(_: tuple[str, ...]) -> None:
            status = answers.pop(0) if answers else 200
            httpx.Response(status, request=httpx.Request("GET", "http://queue")).raise_for_status()

        monkeypatch.setattr(bench.line._wire, "ping", ping)
        bench.line._wire.ping_seconds = 0
        carried = bench.carry("one")
        await until(lambda: not answers)
        bench.end.set()
        await carried

    running(test)
    assert caplog.text.count("runpod_away what=pings") == 2


def test_of_two_runs_of_one_job_only_the_first_is_answered() -> None:
    async def test(bench: Bench, _: Transport) -> None:
        await bench.taken("one")
        first, second = bench.carry("one"), bench.carry("one")
        await until(lambda: bool(bench.heard(Kind.PING)))
        bench.end.set()
        assert (await first, await second) == (ANSWER, ANSWER)
        assert bench.heard(Kind.RESULT) == [("one",)]

    running(test)


def test_what_goes_wrong_in_the_work_is_passed_on_and_nothing_is_answered() -> None:
    async def test(bench: Bench, _: Transport) -> None:
        async def work() -> dict[str, Any]:
            raise OSError(116, "Stale file handle")

        with pytest.raises(OSError, match="Stale"):
            await bench.line.carry("one", work(), bench.stop)
        assert bench.heard(Kind.RESULT) == []

    running(test)
