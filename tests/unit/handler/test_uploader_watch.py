"""An uploader that stops beating is noticed during the training, and what it warns of is passed on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from handler.drain import UPLOADER_SILENCE_SECONDS
from handler.reception import run_job
from handler.reporter import Reporter
from handler.stop import StopRequest
from handler.uploader_watch import SILENT, UploaderWatch
from handler.workshop import Workshop
from shared.contract.upload import Upload, Worker
from shared.layout import worker_file
from tests.unit.handler.crew import job, place
from tests.unit.handler.made import FakeClock, folder, settings

if TYPE_CHECKING:
    from pathlib import Path

    from shared.storage.client import Storage


class Scene:
    """A worker whose uploader beats when the test says so."""

    def __init__(self, root: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder(root)
        known = settings(root)
        self.file = worker_file(root, known.worker)
        self.file.parent.mkdir()
        workshop = Workshop(known, cast("Storage", None), self.clock, Reporter(lambda _: None, self.clock), {})
        self.beats = 0
        self.watch = UploaderWatch(self.folder, workshop)

    def goes_on(self, seconds: float, *, beating: bool, pid: int = 1) -> None:
        for _ in range(int(seconds / 5)):
            self.clock.passed += 5
            if beating:
                self.beats += 1
                beat = Worker(worker="worker", pid=pid, host="", boot_id="", beat=self.beats, at=self.clock.now())
                beat.write(self.file)
            self.watch.look(1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.guarantee("told", fault="the uploader stops beating in the middle of a training")
def test_an_uploader_that_falls_silent_is_told_of_once_and_until_it_is_back(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scene.goes_on(60, beating=True)
    scene.goes_on(UPLOADER_SILENCE_SECONDS - 5, beating=False)
    assert (scene.watch.own, caplog.records) == ((), [])
    scene.goes_on(300, beating=False)
    assert scene.watch.own == scene.watch.warnings == (SILENT,)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["uploader_silent"]
    scene.beats = 0
    scene.goes_on(5, beating=True, pid=2)
    [told] = scene.watch.own
    assert "6 minutes" in told
    assert [record.getMessage().split()[0] for record in caplog.records] == ["uploader_silent", "uploader_back"]


@pytest.mark.guarantee("told", fault="the uploader stops beating in the middle of a training")
def test_the_answer_and_the_session_say_so_and_the_training_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.uploader_watch.UPLOADER_SILENCE_SECONDS", 0.0)
    monkeypatch.setattr("handler.uploader_watch._LOOK_SECONDS", 0.0)
    # It beats once, before the job, and delivers all the same: files are all that is known of it.
    made = place(tmp_path)

    async def running() -> dict[str, Any]:
        async with made.uploader.at_work():
            return await run_job(job(), made.workshop, StopRequest())

    answer = asyncio.run(running())
    assert (answer["success"], answer["warnings"]) == (True, [SILENT])
    [session] = made.sessions
    assert session.warnings == (SILENT,)


def test_one_that_never_shows_is_silent_too(scene: Scene) -> None:
    scene.goes_on(UPLOADER_SILENCE_SECONDS, beating=False)
    assert scene.watch.own == (SILENT,)


def test_a_restarted_uploader_counts_from_the_start_again_and_is_alive(scene: Scene) -> None:
    for pid in range(20):
        scene.beats = 0
        scene.goes_on(UPLOADER_SILENCE_SECONDS - 10, beating=False)
        scene.goes_on(5, beating=True, pid=pid)
    assert scene.watch.own == ()


def test_a_time_in_which_the_handler_was_frozen_is_nobodys_silence(scene: Scene) -> None:
    scene.goes_on(60, beating=True)
    scene.clock.passed += 86_400
    scene.goes_on(5, beating=False)
    assert scene.watch.own == ()


def test_what_the_uploader_warns_of_is_passed_on_while_it_lasts(scene: Scene) -> None:
    Upload(worker="worker", warnings=("A checkpoint has been waiting for 12 minutes.",)).write(scene.folder.upload_file)
    scene.goes_on(10, beating=True)
    assert scene.watch.warnings == ("A checkpoint has been waiting for 12 minutes.",)
    Upload(worker="worker").write(scene.folder.upload_file)
    scene.goes_on(10, beating=True)
    assert not (*scene.watch.warnings, *scene.watch.own)


def test_uploads_that_were_behind_are_told_of_when_they_no_longer_are_and_in_the_end(scene: Scene) -> None:
    for lag, own, finally_told in (
        (599.0, 0, 0),
        (720.0, 0, 1),
        (0.0, 1, 1),
    ):
        Upload(worker="worker", lag_seconds=lag).write(scene.folder.upload_file)
        scene.goes_on(5, beating=True)
        assert (len(scene.watch.own), len(scene.watch.finally_told)) == (own, finally_told)
    assert scene.watch.own == ("A checkpoint waited for 12 minutes to be uploaded.",)


def test_a_volume_that_does_not_answer_shows_no_sign_of_life(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.goes_on(60, beating=True)

    def stale(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("pathlib.Path.read_bytes", stale)
    scene.goes_on(UPLOADER_SILENCE_SECONDS + 5, beating=False)
    assert scene.watch.own == (SILENT,)
