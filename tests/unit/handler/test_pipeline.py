"""A job from its arrival to its answer, with everything that can come in between: nothing is left running, or open."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

import handler.pipeline
import handler.threads
import handler.watch
from handler.reception import run_job
from handler.watch import Stop, StopRequest
from shared.contract.session import Outcome, Phase
from shared.contract.upload import Upload
from shared.errors import ErrorCode
from shared.storage.errors import StorageError, Trouble
from shared.storage.retry import Patience
from tests.unit.handler.crew import SECRET, Place, job, place
from tests.unit.handler.toolkits import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shared.storage.records import ObjectRecord


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.pipeline, "CANCELLED_DRAIN_SECONDS", 0.3)
    monkeypatch.setattr(handler.pipeline, "FAILED_EARLY_DRAIN_SECONDS", 0.3)
    monkeypatch.setattr("handler.drain.INTERRUPTED_SECONDS", 0.3)
    monkeypatch.setattr("handler.preflight.STORAGE_PATIENCE", Patience(attempts=2, first=0.01))
    monkeypatch.setattr("handler.earlier.STORAGE_PATIENCE", Patience(attempts=2, first=0.01))
    monkeypatch.setattr("handler.preflight.UPLOADER_SECONDS", 0.3)
    monkeypatch.setattr("handler.reporter.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(handler.watch, "LOOK_SECONDS", 0.02)
    # The fakes hear of no flag, as a call of Storage does not.
    monkeypatch.setattr("handler.threads.GIVE_UP_SECONDS", 0.1)
    monkeypatch.setattr(handler.threads.in_thread, "__kwdefaults__", {"give_up_seconds": 0.1})


def run(made: Place, event: dict[str, Any], stop: StopRequest | None = None) -> dict[str, Any]:
    async def running() -> dict[str, Any]:
        async with made.uploader.at_work():
            try:
                return await run_job(event, made.workshop, stop or StopRequest())
            finally:
                made.storage.let_go.set()

    return asyncio.run(running())


def one_line(answer: dict[str, Any]) -> str:
    assert answer["success"] is False
    assert len(json.dumps(answer)) < 1 << 20
    error = str(answer["error"])
    assert "\n" not in error
    assert "Traceback" not in error
    assert SECRET not in json.dumps(answer)
    return error


def test_a_job_that_goes_well(tmp_path: Path) -> None:
    made = place(tmp_path)
    answer = run(made, job())
    assert answer["success"] is True, answer
    (session,) = made.sessions
    assert (session.phase, session.job_id) == (Phase.CLOSED, "job-1")
    assert session.ending is not None
    assert session.ending.outcome is Outcome.FINISHED
    assert [saved.path for saved in session.saved] == ["tabby/tabby.safetensors"]
    assert "outputs:run/tabby/" not in str(made.storage.objects)


def test_a_dataset_is_listed_once(tmp_path: Path) -> None:
    made = place(tmp_path)
    listed = made.storage.walk
    prefixes: list[str] = []

    def walk(bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        prefixes.append(f"{bucket}/{prefix}")
        return listed(bucket, prefix)

    made.storage.walk = walk  # type: ignore[method-assign]  # to be counted
    assert run(made, job())["success"] is True
    assert prefixes.count("datasets/cats") == 1


BAD: dict[str, tuple[dict[str, Any], ErrorCode, str]] = {
    "no config": ({"config": None}, ErrorCode.INVALID_INPUT, "config"),
    "broken YAML": ({"config": "config: [unclosed"}, ErrorCode.INVALID_CONFIG, "line 1"),
    "a list": ({"config": "- job\n- config\n"}, ErrorCode.INVALID_CONFIG, "a list"),
    "no process": ({"config": "job: extension\nconfig: {name: a}\n"}, ErrorCode.INVALID_CONFIG, "config.process"),
    "a slash": ({"config": "config: {name: a/b, process: [{type: t}]}"}, ErrorCode.INVALID_CONFIG, "config.name"),
    "two dots": ({"config": "config: {name: .., process: [{type: t}]}"}, ErrorCode.INVALID_CONFIG, "config.name"),
    "a variable": (
        {"config": "config: {name: '${SUPABASE_SERVICE_KEY}', process: [{type: t}]}"},
        ErrorCode.INVALID_CONFIG,
        "${",
    ),
    "no bucket": ({"upload_config": {"bucket_name": "no", "folder_path": ""}}, ErrorCode.BUCKET_NOT_FOUND, "'no'"),
    "no dataset": (
        {"dataset_config": {"bucket_name": "datasets", "folder_path": "dogs"}},
        ErrorCode.DATASET_NOT_FOUND,
        "cats/",
    ),
}


@pytest.mark.parametrize(("change", "code", "words"), BAD.values(), ids=BAD)
def test_a_bad_job_is_answered_in_one_line_and_leaves_nothing(
    tmp_path: Path, change: dict[str, Any], code: ErrorCode, words: str
) -> None:
    made = place(tmp_path)
    answer = run(made, job(**change))
    assert words in one_line(answer)
    assert answer["error_code"] == code
    assert made.sessions == []
    assert made.trainers() == []


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(Trouble.DENIED, ErrorCode.STORAGE_DENIED), (Trouble.UNREACHABLE, ErrorCode.STORAGE_UNREACHABLE)],
)
def test_a_storage_that_refuses_or_is_away(tmp_path: Path, trouble: Trouble, code: ErrorCode) -> None:
    made = place(tmp_path)
    made.storage.error = StorageError(trouble, "Looking up the bucket outputs", "it does not")
    answer = run(made, job())
    one_line(answer)
    assert answer["error_code"] == code
    assert made.storage.calls == ["read"] * (2 if code is ErrorCode.STORAGE_UNREACHABLE else 1)


def test_a_prefix_that_is_somebody_elses(tmp_path: Path) -> None:
    made = place(tmp_path)
    made.uploader.refuses = Upload(
        worker="worker", refused=ErrorCode.PREFIX_IN_USE, refusal="Another run writes there."
    )
    answer = run(made, job())
    assert one_line(answer) == "Another run writes there."
    assert made.sessions[0].phase is Phase.CLOSED


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/volume/file")


@pytest.mark.parametrize(
    ("what", "sessions"),
    [
        ("shared.contract.document.write_atomic", 0),
        ("handler.stage.staging.write_record", 1),
        ("handler.pipeline.write_atomic", 1),
        ("handler.training.start", 1),
    ],
)
def test_a_full_disk_is_told_in_one_sentence_wherever_it_is_met(
    tmp_path: Path, what: str, sessions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = place(tmp_path)

    async def running() -> dict[str, Any]:
        async with made.uploader.at_work():
            with monkeypatch.context() as patch:
                patch.setattr(what, full)
                return await run_job(job(), made.workshop, StopRequest())

    answer = asyncio.run(running())
    assert "full" in one_line(answer)
    assert answer["error_code"] == ErrorCode.DISK_FULL
    assert [session.phase for session in made.sessions] == [Phase.CLOSED] * sessions
    folders = list(made.root.glob("training_session_*"))
    assert len(folders) == sessions
    assert not any((folder / "dataset").exists() for folder in folders)


def test_a_disk_that_is_not_full_is_not_called_so() -> None:
    error = handler.pipeline.disk_trouble(PermissionError(errno.EACCES, "Permission denied", "/volume"))
    assert (error.code, "Permission denied" in error.sentence) == (ErrorCode.INTERNAL, True)


def test_a_defect_closes_the_run_and_shows_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = place(tmp_path)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(made.workshop.reporter, "tell", broken)
    answer = run(made, job(steps=0))
    one_line(answer)
    assert answer["error_code"] == ErrorCode.INTERNAL
    assert made.sessions[0].phase is Phase.CLOSED
    assert made.trainers() == []


def stages(made: Place) -> bool:
    return "open" in made.storage.calls


def trains(made: Place) -> bool:
    return any("tabby:" in path.read_text() for path in made.root.glob("*/trainer.out"))


def is_in(*phases: Phase) -> Callable[[Place], bool]:
    return lambda made: any(session.phase in phases for session in made.sessions)


def hold_storage(call: str) -> Callable[[Place], None]:
    return lambda made: made.storage.held.add(call)


def no_claim(made: Place) -> None:
    made.uploader.claims = False


def no_answer(made: Place) -> None:
    made.uploader.answers = False


def nothing(_: Place) -> None:
    return


# Where a job may be met: how it is held there, how many steps it has, how one sees that it is there, what then comes.
PLACES: dict[str, tuple[Callable[[Place], None], int, Callable[[Place], bool], Outcome | None]] = {
    "preflight": (hold_storage("bucket"), 9, lambda made: "bucket" in made.storage.calls, None),
    "staging": (hold_storage("open"), 9, stages, Outcome.CANCELLED),
    "claim": (no_claim, 9, is_in(Phase.STARTING), Outcome.CANCELLED),
    "training": (nothing, 0, trains, Outcome.CANCELLED),
    "draining": (no_answer, 9, is_in(Phase.DRAINING), Outcome.FINISHED),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("hold", "steps", "there", "outcome"), PLACES.values(), ids=PLACES)
def test_a_cancellation_is_passed_on_when_nothing_is_left_running_or_open(
    tmp_path: Path,
    hold: Callable[[Place], None],
    steps: int,
    there: Callable[[Place], bool],
    outcome: Outcome | None,
    times: int,
) -> None:
    made = place(tmp_path)
    hold(made)

    async def cancelled() -> None:
        async with made.uploader.at_work():
            task = asyncio.ensure_future(run_job(job(steps), made.workshop, StopRequest()))
            await until(lambda: there(made))
            for _ in range(times):
                task.cancel()
                for _ in range(3):
                    await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert made.trainers() == []
            assert [session.phase for session in made.sessions] == ([] if outcome is None else [Phase.CLOSED])
            endings = [session.ending for session in made.sessions]
            assert [ending and ending.outcome for ending in endings] == ([] if outcome is None else [outcome])
            made.storage.let_go.set()

    asyncio.run(cancelled())


def test_a_cancellation_after_the_delivery_asks_for_no_second_one(tmp_path: Path) -> None:
    made = place(tmp_path)
    silent = asyncio.Event()

    async def silence() -> None:
        silent.set()
        await asyncio.sleep(0 if silent.is_set() and made.storage.let_go.is_set() else 60)

    async def cancelled() -> None:
        made.workshop.reporter.silence = silence  # type: ignore[method-assign]  # stands in for the two seconds
        async with made.uploader.at_work():
            task = asyncio.ensure_future(run_job(job(), made.workshop, StopRequest()))
            await silent.wait()
            made.storage.let_go.set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    ((_, tokens),) = made.uploader.tokens.items()
    assert len(tokens) == 1
    (session,) = made.sessions
    assert session.phase is Phase.CLOSED
    assert session.ending is not None
    assert session.ending.outcome is Outcome.FINISHED


@pytest.mark.parametrize(("hold", "steps", "there", "outcome"), PLACES.values(), ids=PLACES)
def test_a_worker_that_is_told_to_stop_answers_soon_wherever_the_job_is(
    tmp_path: Path,
    hold: Callable[[Place], None],
    steps: int,
    there: Callable[[Place], bool],
    outcome: Outcome | None,
) -> None:
    made = place(tmp_path)
    hold(made)
    stop = StopRequest()

    async def stopped() -> dict[str, Any]:
        async with made.uploader.at_work():
            task = asyncio.ensure_future(run_job(job(steps), made.workshop, stop))
            await until(lambda: there(made))
            stop.ask(Stop.INTERRUPTED)
            answer = await asyncio.wait_for(task, 30)
            made.storage.let_go.set()
            return answer

    answer = asyncio.run(stopped())
    one_line(answer)
    assert made.trainers() == []
    assert all(session.phase is Phase.CLOSED for session in made.sessions)
    drained = outcome is Outcome.FINISHED
    assert answer["error_code"] == (ErrorCode.UPLOAD_INCOMPLETE if drained else ErrorCode.INTERRUPTED)
    assert outcome is None or answer["refresh_worker"] is True
