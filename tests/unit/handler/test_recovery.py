"""What an earlier handler left behind is brought to its end, once, and what is not one's own is let alone."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

import handler.recovery
import handler.watch
from handler.recovery import finish_left_over
from handler.trainer import live_trainers, start
from handler.tree import Tree
from handler.watch import Stop, StopRequest
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Outcome, Phase, Session
from shared.contract.trainer_exit import TrainerExit
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode
from shared.layout import SessionFolder
from tests.unit.handler.crew import Place, place
from tests.unit.handler.made import NOW, ending, folder, session
from tests.unit.handler.toolkits import make_settings, make_toolkit, until

if TYPE_CHECKING:
    from pathlib import Path

GONE = identify().model_copy(update={"pid": 2**22 + 1})
TOKEN = DrainRequest(token="asked", at=NOW)


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr("handler.reporter.SILENCE_SECONDS", 0.1)


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


def test_an_ending_that_was_noted_is_kept_and_the_drain_goes_on(made: Place) -> None:
    found = left(made, phase=Phase.DRAINING, ending=ending(), drain=TOKEN, trainer=GONE)
    (answer,) = finish(made)
    assert answer["success"] is True
    assert read(found).ending == ending()


def test_a_drain_that_was_answered_is_not_asked_for_again(made: Place) -> None:
    found = left(made, phase=Phase.DRAINING, ending=ending(), drain=TOKEN)
    Upload(worker="worker", receipt=DrainReceipt(token="asked", complete=True)).write(found.upload_file)
    made.uploader.answers = False
    (answer,) = finish(made)
    assert answer["success"] is True
    assert (read(found).phase, read(found).drain) == (Phase.CLOSED, TOKEN)


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": Phase.CLOSED, "ending": ending()},
        {"worker": "another"},
        {"handler": identify()},
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


def test_a_worker_that_has_to_go_leaves_what_can_wait(made: Place) -> None:
    found = left(made)
    stop = StopRequest()
    stop.ask(Stop.INTERRUPTED)
    assert finish(made, stop) == []
    assert read(found).phase is Phase.STAGING


def test_a_living_trainer_is_watched_on_and_ended_when_the_worker_has_to_go(made: Place, tmp_path: Path) -> None:
    found = left(made, phase=Phase.TRAINING)
    toolkit = make_toolkit(tmp_path / "endless", "import signal; signal.pause()")
    root = start(found, make_settings(toolkit), os.environ)
    stop = StopRequest()

    async def running() -> list[dict[str, Any]]:
        async with made.uploader.at_work():
            task = asyncio.ensure_future(finish_left_over(made.workshop, stop))
            await until(lambda: read(found).trainer is not None or read(found).handler == identify() or task.done())
            assert made.trainers() == [root.pid]
            stop.ask(Stop.INTERRUPTED)
            return await task

    (answer,) = asyncio.run(running())
    assert answer["error_code"] == "interrupted"
    assert made.trainers() == []
    assert read(found).phase is Phase.CLOSED


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
        assert handler.recovery._root_of(elsewhere, trainers) == roots[0]
        assert handler.recovery._root_of(namesake, trainers) == roots[1]
        assert handler.recovery._root_of(left(made, "training_session_2"), trainers) is None
    finally:
        for each, root in zip((found, namesake), roots, strict=True):
            assert asyncio.run(Tree(each.path, root).end(polite_seconds=0))
