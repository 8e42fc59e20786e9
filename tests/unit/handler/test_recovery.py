"""What an earlier handler left behind is brought to its end, once, and what is not one's own is let alone."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest

import handler.recovery
import handler.watch
from handler.left_over import LeftOver
from handler.recovery import finish_left_over
from handler.trainer import live_trainers, root_of, start
from handler.training import Training
from handler.tree import Tree
from handler.watch import Stop, StopRequest
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Outcome, Phase, Session
from shared.contract.trainer_exit import TrainerExit
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode
from shared.layout import SessionFolder
from tests.unit.handler.crew import SECRET, Place, place
from tests.unit.handler.made import NOW, ending, folder, session
from tests.unit.handler.toolkits import make_settings, make_toolkit, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from pathlib import Path

    from handler.book import Book
    from handler.lifeline import Lifeline
    from shared.contract.process import ProcessIdentity

GONE = identify().model_copy(update={"pid": 2**22 + 1})
TOKEN = DrainRequest(token="asked", at=NOW)


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr("handler.reporter.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(handler.recovery, "_AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(handler.recovery, "PATIENCE_SECONDS", 0.2)


@pytest.fixture
def made(tmp_path: Path) -> Place:
    return place(tmp_path)


def left(made: Place, name: str = "training_session_1", **changes: Any) -> SessionFolder:
    found = folder(made.root, name)
    session(found, **{"handler": GONE, "phase": Phase.STAGING, **changes}).write(found.session_file)
    return found


def finish(made: Place, stop: StopRequest | None = None) -> list[dict[str, Any]]:
    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            return await finish_left_over(made.workshop, stop or StopRequest())

    return asyncio.run(running())


def read(found: SessionFolder) -> Session:
    known = Session.read(found.session_file)
    assert known is not None
    return known


def test_a_run_that_never_trained_is_closed_as_interrupted(made: Place) -> None:
    found = left(made, warnings=("one",))
    (answer,) = finish(made)
    assert (answer["error_code"], answer["warnings"]) == ("interrupted", ["one"])
    known = read(found)
    assert known.ending is not None
    assert (known.phase, known.ending.outcome) == (Phase.CLOSED, Outcome.INTERRUPTED)
    assert known.handler == identify()


def test_a_trainer_that_ended_meanwhile_is_judged_by_its_exit_code(made: Place) -> None:
    found = left(made, phase=Phase.TRAINING, trainer=GONE, warnings=("one",))
    TrainerExit(code=3, at=NOW).write(found.trainer_exit)
    found.trainer_output.write_bytes(b"Error running job: CUDA out of memory\n")
    (answer,) = finish(made)
    assert answer["error_code"] == "gpu_out_of_memory"
    assert answer["warnings"] == ["one"]
    assert read(found).phase is Phase.CLOSED


def test_what_an_earlier_handler_had_noticed_is_told_once(made: Place) -> None:
    skipped = "Batches were left out because the GPU's memory was full: {}."
    found = left(made, phase=Phase.TRAINING, trainer=GONE, warnings=("one", skipped.format(1)))
    TrainerExit(code=3, at=NOW).write(found.trainer_exit)
    found.trainer_output.write_bytes(b"# OOM during training step, skipping batch 1/3 #\n" * 2)
    (answer,) = finish(made)
    assert answer["warnings"] == ["one", skipped.format(2)]


def test_an_ending_that_was_noted_is_kept_and_the_drain_goes_on(made: Place) -> None:
    found = left(made, phase=Phase.DRAINING, ending=ending(), drain=TOKEN, trainer=GONE)
    (answer,) = finish(made)
    assert answer["success"] is True
    assert read(found).ending == ending()


def test_a_drain_that_was_answered_is_not_asked_for_again(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found = left(made, phase=Phase.DRAINING, ending=ending(), drain=TOKEN)
    Upload(worker="worker", receipt=DrainReceipt(token="asked", complete=True)).write(found.upload_file)
    monkeypatch.setattr(made.uploader, "look", lambda _: None)
    (answer,) = finish(made)
    assert answer["success"] is True
    assert (read(found).phase, read(found).drain) == (Phase.CLOSED, TOKEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": Phase.CLOSED, "ending": ending()},
        {"worker": "another"},
        {"handler": identify(os.getppid())},
    ],
    ids=["closed", "of another worker", "its handler lives"],
)
def test_what_is_not_left_over_stays_as_it_is(made: Place, changes: dict[str, Any]) -> None:
    found = left(made, **changes)
    before = found.session_file.read_bytes()
    assert finish(made) == []
    assert found.session_file.read_bytes() == before


def test_a_run_whose_volume_fails_does_not_keep_the_others(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    left(made, "training_session_1")
    second = left(made, "training_session_2")
    real = Session.read.__func__  # type: ignore[attr-defined]  # a classmethod's function

    def stale(cls: type[Session], path: Path) -> Session | None:
        if "training_session_1" in str(path):
            raise OSError(116, "Stale file handle")
        known: Session | None = real(cls, path)
        return known

    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            with monkeypatch.context() as patch:
                patch.setattr(Session, "read", classmethod(stale))
                monkeypatch.setattr(made.uploader, "look", lambda _: None)  # It would stumble, too.
                Upload(worker="w", refused=ErrorCode.PREFIX_IN_USE, refusal="No.").write(second.upload_file)
                return await finish_left_over(made.workshop, StopRequest())

    assert [answer["session_id"] for answer in asyncio.run(running())] == ["training_session_2"]


@pytest.mark.guarantee("handler-death", fault="the volume does not answer for a moment when its trainer has ended")
def test_a_run_that_is_over_is_answered_when_its_volume_comes_back(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = left(made, phase=Phase.TRAINING, trainer=GONE)
    TrainerExit(code=3, at=NOW).write(found.trainer_exit)
    found.trainer_output.write_bytes(b"Error running job: CUDA out of memory\n")
    real, failures = LeftOver.to_the_end, [116, 5]

    async def stale(run: LeftOver) -> dict[str, Any]:
        if failures:
            raise OSError(failures.pop(), "The volume is away")
        return await real(run)

    monkeypatch.setattr(LeftOver, "to_the_end", stale)
    (answer,) = finish(made)
    assert (failures, answer["error_code"], read(found).phase) == ([], "gpu_out_of_memory", Phase.CLOSED)


@pytest.mark.guarantee("handler-death", fault="the volume does not answer for a moment when the next handler starts")
def test_a_root_that_is_not_listed_at_once_is_looked_at_again(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.eventually.PAUSE_SECONDS", 0.001)
    found, failures = left(made), [116, 5]

    def stale(root: Path) -> list[SessionFolder]:
        if failures:
            raise OSError(failures.pop(), "The volume is away")
        return [SessionFolder(root / found.session_id)]

    monkeypatch.setattr(handler.recovery, "sessions", stale)
    assert len(finish(made)) == 1


def test_what_the_volume_refuses_for_good_is_not_waited_for(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.recovery, "PATIENCE_SECONDS", 1e9)
    left(made)
    tried: list[object] = []

    def denied(*_: object) -> None:
        tried.append(1)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(made.uploader, "look", lambda _: None)
    monkeypatch.setattr(Session, "read", denied)
    assert finish(made) == []
    assert len(tried) == 1


def test_a_worker_that_has_to_go_leaves_what_can_wait(made: Place) -> None:
    found = left(made)
    stop = StopRequest()
    stop.ask(Stop.INTERRUPTED)
    assert finish(made, stop) == []
    assert read(found).phase is Phase.STAGING


ENDLESS = "import signal; print('begun', flush=True); signal.pause()"
# Trains until a file appears beside its output, and then leaves what a training is to leave.
WAITING = """
import pathlib, sys, time
output = pathlib.Path(sys.argv[1]).parent / "output"
print("begun", flush=True)
while not (output.parent / "go").exists():
    time.sleep(0.02)
(output / "cats").mkdir()
(output / "cats" / "cats.safetensors").write_bytes(b"weights")
print(f"Saved checkpoint to {output}/cats/cats.safetensors", flush=True)
"""


def training(made: Place, script: str = ENDLESS, **changes: Any) -> tuple[SessionFolder, ProcessIdentity]:
    """Return a run whose handler is gone and whose trainer lives, and the root of that."""
    found = left(made, **{"phase": Phase.TRAINING, **changes})
    root = start(found, make_settings(make_toolkit(made.root.parent / "own", script)), os.environ)
    asyncio.run(until(lambda: found.trainer_output.read_bytes().startswith(b"begun")))
    return found, root


def finish_while(
    made: Place, meanwhile: Callable[[asyncio.Task[list[dict[str, Any]]]], Awaitable[None]], stop: StopRequest
) -> list[dict[str, Any]]:
    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            task = asyncio.ensure_future(finish_left_over(made.workshop, stop))
            await meanwhile(task)
            return await task

    return asyncio.run(running())


def test_a_living_trainer_is_watched_on_and_ended_when_the_worker_has_to_go(made: Place) -> None:
    found, root = training(made)
    stop = StopRequest()

    async def told_to_stop(_: object) -> None:
        await until(lambda: read(found).handler == identify())
        assert made.trainers() == [root.pid]
        stop.ask(Stop.INTERRUPTED)

    (answer,) = finish_while(made, told_to_stop, stop)
    assert (answer["error_code"], answer["refresh_worker"]) == ("interrupted", True)
    assert made.trainers() == []
    assert read(found).phase is Phase.CLOSED


@pytest.mark.guarantee("handler-death", fault="the launcher, which alone learns the exit code, is killed as well")
def test_a_training_whose_launcher_died_too_is_judged_by_what_it_left_and_says_so(made: Place) -> None:
    found, root = training(made, WAITING)
    psutil.Process(root.pid).kill()

    async def goes_on(_: object) -> None:
        await until(lambda: read(found).handler == identify())
        assert len(made.trainers()) == 1
        (found.path / "go").touch()

    (answer,) = finish_while(made, goes_on, StopRequest())
    assert answer["success"] is True
    (warning,) = answer["warnings"]
    assert warning.startswith("Nobody saw how the trainer exited")
    assert warning.endswith("this is judged by what is on the disk.")
    ended = read(found).ending
    assert ended is not None
    assert ended.outcome is Outcome.FINISHED


@pytest.mark.guarantee("handler-death", fault="launcher and trainer are killed with it")
def test_a_training_of_which_nothing_lives_any_more_is_answered_as_interrupted(made: Place) -> None:
    found, root = training(made, phase=Phase.SAVING)
    known = read(found).model_copy(update={"trainer": root})
    known.write(found.session_file)
    launcher = psutil.Process(root.pid)
    for process in (launcher, *launcher.children()):
        process.kill()
    asyncio.run(until(lambda: made.trainers() == []))
    (answer,) = finish(made)
    assert (answer["error_code"], answer["outcome"]) == ("interrupted", "interrupted")
    assert "left no exit code" in answer["error"]
    assert "judged by what is on the disk" in str(answer["warnings"])


def test_a_trainer_that_ended_before_anybody_noted_that_it_had_begun_is_judged_all_the_same(made: Place) -> None:
    found = left(made, phase=Phase.STARTING)
    TrainerExit(code=3, at=NOW).write(found.trainer_exit)
    found.trainer_output.write_bytes(b"Error running job: CUDA out of memory\n")
    (answer,) = finish(made)
    assert answer["error_code"] == "gpu_out_of_memory"


@pytest.mark.guarantee("one-writer", fault="a trainer outlives its run, or the machine that took the run over")
@pytest.mark.parametrize(
    "changes",
    [
        {"phase": Phase.CLOSED, "ending": ending()},
        {"worker": "another", "handler": GONE.model_copy(update={"boot_id": "another machine's"})},
    ],
    ids=["closed", "gone on with elsewhere"],
)
def test_a_trainer_that_nobody_waits_for_is_ended_and_its_run_let_alone(made: Place, changes: dict[str, Any]) -> None:
    found, _ = training(made, **changes)
    before = found.session_file.read_bytes()
    assert finish(made) == []
    assert made.trainers() == []
    assert found.session_file.read_bytes() == before


@pytest.mark.guarantee("one-writer", fault="the volume does not answer when a live training is to be taken over")
def test_no_job_is_asked_for_as_long_as_a_trainer_lives(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made.uploader, "look", lambda _: None)
    found, root = training(made)
    away = found.session_file.rename(found.path / "away")
    tried: list[object] = []
    monkeypatch.setattr(handler.recovery.log, "error", lambda *_, **fields: tried.append(fields["reason"]))

    async def comes_back(task: asyncio.Task[list[dict[str, Any]]]) -> None:
        await until(lambda: len(tried) > 2)
        assert made.trainers() == [root.pid]
        assert not task.done()
        Upload(worker="w", refused=ErrorCode.PREFIX_IN_USE, refusal="No.").write(found.upload_file)
        away.rename(found.session_file)
        await until(lambda: read(found).handler == identify())
        psutil.Process(root.pid).children()[0].kill()

    (answer,) = finish_while(made, comes_back, StopRequest())
    assert answer["session_id"] == found.session_id


def test_a_run_that_fails_half_way_is_taken_up_again(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found, root = training(made)
    failed: list[object] = []

    def stale(book: Book, *arguments: Any, **options: Any) -> Training:
        if not failed:
            book.write()
            failed.append(book)
            raise OSError(116, "Stale file handle")
        return Training(book, *arguments, **options)

    monkeypatch.setattr("handler.left_over.Training", stale)
    stop = StopRequest()

    async def fails_once(_: object) -> None:
        await until(lambda: made.workshop.reporter._number > 0)
        assert made.trainers() == [root.pid]
        stop.ask(Stop.INTERRUPTED)

    (answer,) = finish_while(made, fails_once, stop)
    assert (len(failed), answer["error_code"], read(found).phase) == (1, "interrupted", Phase.CLOSED)


@pytest.mark.guarantee("handler-death", fault="a defect of Ferry itself in the recovery of another run")
def test_a_defect_in_one_run_costs_no_other_its_training(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found, root = training(made, WAITING)
    left(made, "training_session_2")
    told: list[object] = []
    monkeypatch.setattr(handler.recovery.log, "exception", lambda *_, **fields: told.append(fields["session"]))
    real = LeftOver.to_the_end

    async def defective(run: LeftOver) -> dict[str, Any]:
        if run._folder != found:
            await until(lambda: read(found).handler == identify())
            raise RuntimeError("a defect")
        return await real(run)

    monkeypatch.setattr(LeftOver, "to_the_end", defective)

    async def goes_on(task: asyncio.Task[list[dict[str, Any]]]) -> None:
        await until(lambda: bool(told) or task.done())
        assert made.trainers() == [root.pid]
        (found.path / "go").touch()

    (answer,) = finish_while(made, goes_on, StopRequest())
    assert (answer["session_id"], answer["success"]) == (found.session_id, True)
    assert told == ["training_session_2"]


@pytest.mark.guarantee("one-writer", fault="the system does not say for a moment which trainers live")
def test_a_trainer_is_not_given_up_because_the_system_does_not_tell(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = training(made)
    failed: list[object] = []

    def stale(*arguments: Any, **options: Any) -> Training:
        if not failed:
            raise OSError(116, "Stale file handle")
        return Training(*arguments, **options)

    def unknown() -> list[Any]:
        if not known:
            known.extend(live_trainers())
            return known
        failed.append(1)
        raise psutil.NoSuchProcess(1)

    known: list[Any] = []
    monkeypatch.setattr("handler.left_over.Training", stale)
    monkeypatch.setattr(handler.recovery, "live_trainers", unknown)
    stop = StopRequest()

    async def goes_on(_: object) -> None:
        await until(lambda: made.workshop.reporter._number > 0)
        stop.ask(Stop.INTERRUPTED)

    (answer,) = finish_while(made, goes_on, stop)
    assert (failed, answer["session_id"], made.trainers()) == ([1], found.session_id, [])


@dataclass
class FakeLine:
    """Stands in for the lifeline: keeps what it is told, and stops the job when the test says so."""

    told: list[Mapping[str, Any]] = field(default_factory=list)
    carried: dict[str, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def sender(self, _: str) -> Callable[[Mapping[str, Any]], None]:
        return self.told.append

    async def carry(
        self, job_id: str, work: Coroutine[Any, Any, dict[str, Any]], _: StopRequest
    ) -> dict[str, Any] | None:
        self.carried[job_id] = asyncio.ensure_future(work)
        try:
            self.answers[job_id] = await self.carried[job_id]
        except asyncio.CancelledError:
            return None
        return self.answers[job_id]


def test_a_run_with_a_job_is_carried_and_tells_no_secret(made: Place) -> None:
    line = FakeLine()
    left(made, "training_session_1", job_id="one", phase=Phase.TRAINING, trainer=GONE, warnings=(f"a {SECRET}",))
    left(made, "training_session_2")

    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            return await finish_left_over(made.workshop, StopRequest(), cast("Lifeline", line))

    answers = asyncio.run(running())
    assert {answer["session_id"] for answer in answers} == {"training_session_1", "training_session_2"}
    assert list(line.answers) == ["one"]
    assert line.answers["one"]["warnings"] == ["a ***", line.answers["one"]["warnings"][1]]
    assert [(told["session_id"], told["sequence"]) for told in line.told] == [("training_session_1", 1)]


@pytest.mark.parametrize("phase", [Phase.TRAINING, Phase.DRAINING])
def test_a_job_that_is_cancelled_meanwhile_ends_as_cancelled_unless_it_had_ended(made: Place, phase: Phase) -> None:
    line = FakeLine()
    if phase is Phase.TRAINING:
        found, _ = training(made, job_id="one")
    else:
        found = left(made, phase=phase, job_id="one", ending=ending(), drain=TOKEN, trainer=GONE)
        made.uploader.answers = False

    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            task = asyncio.ensure_future(finish_left_over(made.workshop, StopRequest(), cast("Lifeline", line)))
            await until(lambda: read(found).handler == identify())
            line.carried["one"].cancel()
            await until(lambda: made.trainers() == [])
            made.uploader.answers = True
            return await task

    assert asyncio.run(running()) == []
    known = read(found)
    assert known.ending is not None
    expected = Outcome.CANCELLED if phase is Phase.TRAINING else Outcome.FINISHED
    assert (known.phase, known.ending.outcome) == (Phase.CLOSED, expected)
    assert line.answers == {}


def test_a_trainer_is_known_by_what_it_writes_to_wherever_that_lies_by_now(made: Place, tmp_path: Path) -> None:
    other = place(tmp_path / "another")
    found, namesake = left(made, phase=Phase.TRAINING), left(other, phase=Phase.TRAINING)
    toolkit = make_toolkit(tmp_path / "endless", "import signal; signal.pause()")
    roots = [start(each, make_settings(toolkit), os.environ) for each in (found, namesake)]
    try:
        elsewhere = SessionFolder(tmp_path / "mounted elsewhere" / found.session_id)
        elsewhere.path.parent.mkdir()
        found.path.rename(elsewhere.path)
        trainers = live_trainers()
        assert root_of(elsewhere, trainers) == roots[0]
        assert root_of(namesake, trainers) == roots[1]
        assert root_of(left(made, "training_session_2"), trainers) is None
    finally:
        for each, root in zip((found, namesake), roots, strict=True):
            assert asyncio.run(Tree(each.path, root).end(polite_seconds=0))
