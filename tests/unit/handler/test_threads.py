"""Blocking work ends with its job, and clean-up is not cut off."""

from __future__ import annotations

import asyncio
import threading

import pytest

from handler.threads import EndedEarlyError, in_thread
from handler.undisturbed import undisturbed
from handler.watch import Stop, StopRequest
from shared.errors import ErrorCode, FerryError


class Work:
    """Runs until its flag is set, or, being deaf, until the test lets it go."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.begun, self.let_go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self._deaf = deaf

    def __call__(self, flag: threading.Event) -> str:
        self.begun.set()
        assert (self.let_go if self._deaf else flag).wait(60)
        self.ended.set()
        raise FerryError(ErrorCode.CANCELLED, "It was stopped.")


async def begun(work: Work, stop: StopRequest, give_up_seconds: float = 60) -> asyncio.Task[str]:
    task = asyncio.create_task(in_thread(stop, work, give_up_seconds=give_up_seconds))
    assert await asyncio.to_thread(work.begun.wait, 60)
    return task


def test_what_the_thread_returns_or_raises_comes_out() -> None:
    assert asyncio.run(in_thread(StopRequest(), lambda flag: flag.is_set())) is False

    def refuse(_: threading.Event) -> None:
        raise FerryError(ErrorCode.DISK_FULL, "It is full.")

    with pytest.raises(FerryError, match="It is full"):
        asyncio.run(in_thread(StopRequest(), refuse))


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancellation_is_passed_on_when_the_thread_has_ended(times: int) -> None:
    async def cancelled() -> None:
        work = Work()
        task = await begun(work, StopRequest())
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.ended.is_set()

    asyncio.run(cancelled())


def test_a_stop_ends_the_thread_and_says_why() -> None:
    async def stopped() -> None:
        work, stop = Work(), StopRequest()
        task = await begun(work, stop)
        stop.ask(Stop.INTERRUPTED)
        with pytest.raises(EndedEarlyError) as caught:
            await task
        assert caught.value.reason is Stop.INTERRUPTED
        assert work.ended.is_set()

    asyncio.run(stopped())


def test_a_thread_that_hears_nothing_is_left_to_itself() -> None:
    async def cancelled() -> None:
        work = Work(deaf=True)
        task = await begun(work, StopRequest(), give_up_seconds=0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not work.ended.is_set()
        work.let_go.set()

    asyncio.run(cancelled())


@pytest.mark.guarantee("every-wait-ends", fault="RunPod ends the worker while a call to Storage hangs")
def test_a_worker_that_is_being_stopped_does_not_wait_for_it_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.threads.HURRIED_SECONDS", 0.01)
    begun, let_go = threading.Event(), threading.Event()

    def hang(_: threading.Event) -> bool:
        begun.set()
        return let_go.wait()

    async def stopped() -> None:
        stop = StopRequest()
        task = asyncio.create_task(in_thread(stop, hang, give_up_seconds=1e6))
        assert await asyncio.to_thread(begun.wait, 60)
        stop.ask(Stop.INTERRUPTED)
        # Otherwise this would wait for ever: nobody lets it go before.
        with pytest.raises(EndedEarlyError):
            await task
        let_go.set()

    asyncio.run(stopped())


def test_undisturbed_work_ends_before_the_cancellation_goes_on() -> None:
    async def cancelled() -> None:
        gate, done = asyncio.Event(), []

        async def work() -> None:
            await gate.wait()
            done.append("work")

        task = asyncio.create_task(undisturbed(work()))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        assert not task.done()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["work"]

    asyncio.run(cancelled())


def test_undisturbed_work_returns_and_raises_as_it_would() -> None:
    async def refuse() -> None:
        raise OSError(28, "full")

    async def answer() -> int:
        return 7

    assert asyncio.run(undisturbed(answer())) == 7
    with pytest.raises(OSError, match="full"):
        asyncio.run(undisturbed(refuse()))
