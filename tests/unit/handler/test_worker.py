"""The seam to the SDK: one job at a time, signals, and nothing secret or raw in an answer."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

import handler.reception
import handler.worker
from handler.local_job import check_local_job, is_local
from handler.masking import presentable
from handler.stop import Stop, StopRequest
from handler.worker import Worker, ended_by_signals, main
from shared.errors import FerryError
from tests.unit.handler.crew import SECRET, Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from handler.workshop import Workshop


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", SECRET)
    monkeypatch.setattr(handler.worker, "_sender", lambda _: lambda _: None)
    return place(tmp_path)


@pytest.fixture
def signals() -> Iterator[None]:
    saved = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, known in saved.items():
        signal.signal(number, known)


def test_a_second_job_meanwhile_is_refused_and_the_next_one_is_not(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def run(event: Mapping[str, Any], _: Workshop, __: StopRequest) -> dict[str, Any]:
        await gate.wait()
        return {"success": True, "id": event["id"]}

    monkeypatch.setattr(handler.reception, "run_job", run)
    worker = Worker(made.workshop.settings, made.workshop.storage)

    async def running() -> None:
        first = asyncio.create_task(worker.handle({"id": "1"}))
        await asyncio.sleep(0)
        assert (await worker.handle({"id": "2"}))["error_code"] == "busy"
        gate.set()
        assert await first == {"success": True, "id": "1"}
        assert await worker.handle({"id": "3"}) == {"success": True, "id": "3"}

    asyncio.run(running())


@pytest.mark.guarantee("trained-once", fault="RunPod delivers a job to one worker twice at once")
@pytest.mark.parametrize("cancelled", [False, True])
def test_the_same_job_meanwhile_gets_the_same_answer(
    made: Place, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    gate = asyncio.Event()
    started: list[object] = []

    async def run(event: Mapping[str, Any], *_: object) -> dict[str, Any]:
        started.append(event["id"])
        await gate.wait()
        return {"success": True}

    monkeypatch.setattr(handler.reception, "run_job", run)
    worker = Worker(made.workshop.settings, made.workshop.storage)

    async def running() -> dict[str, Any]:
        first = asyncio.create_task(worker.handle({"id": "1", "input": {"a": 1}}))
        await asyncio.sleep(0)
        second = asyncio.create_task(worker.handle({"id": "1", "input": {"a": 1}}))
        await asyncio.sleep(0)
        assert (await worker.handle({"id": "1", "input": {"a": 2}}))["error_code"] == "busy"
        if cancelled:
            first.cancel()
        gate.set()
        return await second

    answer = asyncio.run(running())
    assert answer.get("error_code") == ("cancelled" if cancelled else None)
    assert started == ["1"]


def test_a_defect_is_answered_without_a_traceback_and_the_worker_goes_on(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(*_: object) -> dict[str, Any]:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(handler.reception, "run_job", run)
    worker = Worker(made.workshop.settings, made.workshop.storage)
    for _ in range(2):
        answer = asyncio.run(worker.handle({"id": "1"}))
        assert answer["error_code"] == "internal"
        assert "Zero" not in str(answer)
        assert SECRET not in str(answer)


def test_no_answer_holds_a_secret_however_deep(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> dict[str, Any]:
        return {"success": False, "error": f"x {SECRET}", "missing": [{"path": SECRET}], "steps": 3}

    monkeypatch.setattr(handler.reception, "run_job", run)
    answer = asyncio.run(Worker(made.workshop.settings, made.workshop.storage).handle({"id": "1"}))
    assert answer == {"success": False, "error": "x ***", "missing": [{"path": "***"}], "steps": 3}
    assert presentable({"a": (SECRET,)}, [SECRET]) == {"a": ["***"]}


class Server:
    """What the SDK's local server looks like to a signal."""

    should_exit = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True


def test_a_signal_asks_for_the_end_and_the_server_hears_of_it_too(signals: None) -> None:
    server = Server()
    signal.signal(signal.SIGTERM, server.handle)
    stop = StopRequest()

    async def running() -> None:
        with ended_by_signals(stop):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(60), 60)

    asyncio.run(running())
    assert stop.reason is Stop.INTERRUPTED
    assert server.should_exit
    assert signal.getsignal(signal.SIGTERM) == server.handle


@pytest.mark.parametrize(
    ("arguments", "environ", "local"),
    [
        ([], {}, True),
        ([], {"RUNPOD_WEBHOOK_GET_JOB": "u"}, False),
        (["--test_input", "{}"], {"RUNPOD_WEBHOOK_GET_JOB": "u"}, True),
        (["--test_input={}"], {"RUNPOD_WEBHOOK_GET_JOB": "u"}, True),
        (["--rp_serve_api"], {}, False),
        (["--rp_serve_api", "--test_input", "{}"], {}, False),
        ([], {"RUNPOD_REALTIME_PORT": "80"}, False),
    ],
)
def test_what_is_a_local_job(arguments: list[str], environ: dict[str, str], local: bool) -> None:
    assert is_local(arguments, environ) is local


@pytest.mark.parametrize(
    ("arguments", "file", "words"),
    [
        (["--test_input", "{bad"], None, "--test_input is no JSON"),
        (["--test_input=[1]"], None, "--test_input holds no job"),
        (["--test_input", '{"id": 1}'], None, "--test_input holds no job"),
        (["--test_input"], None, "--test_input is no JSON"),
        ([], "null", "test_input.json holds no job"),
        ([], None, "There is nothing to do"),
    ],
)
def test_a_local_job_that_is_none_is_told_in_a_sentence(
    tmp_path: Path, arguments: list[str], file: str | None, words: str
) -> None:
    if file is not None:
        (tmp_path / "test_input.json").write_text(file)
    with pytest.raises(FerryError, match=words):
        check_local_job(arguments, tmp_path)


def test_a_local_job_is_taken_from_the_option_or_the_file(tmp_path: Path) -> None:
    check_local_job(["--test_input", '{"input": {}}'], tmp_path)
    (tmp_path / "test_input.json").write_text('{"input": {"config": 1}}')
    check_local_job([], tmp_path)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "SUPABASE_URL is not set"),
        ({"SUPABASE_URL": "u"}, "SUPABASE_URL is 'u'"),
        ({"SUPABASE_URL": "http://h", "SUPABASE_SERVICE_KEY": "a key\nof two lines"}, "SUPABASE_SERVICE_KEY"),
        ({"SUPABASE_URL": "http://h", "SUPABASE_SERVICE_KEY": "k", "TRAINING_ROOT": "/dev/null/x"}, "TRAINING_ROOT"),
    ],
)
def test_a_wrong_environment_is_one_line_and_the_exit_code_2(
    environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SUPABASE_URL", "RUNPOD_WEBHOOK_GET_JOB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(handler.worker, "configure", lambda _format: None)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["--test_input", '{"input": {}}']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.guarantee("undisturbed", fault="no thread is left that could tell RunPod of the progress")
def test_progress_that_cannot_be_sent_is_no_word_on_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("runpod.serverless.progress_update", none_left)
    handler.worker._sender({"id": "a"})({"sequence": 1})  # the seam to the SDK has no other door
