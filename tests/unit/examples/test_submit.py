"""Sending one training: what is printed, what is sent again, what Ctrl-C does, and the exit codes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import examples.submit
from examples.client.endpoint import EndpointError, JobState, Trouble
from examples.submit import Submission, main, parser, without_follow
from shared.contract.session import Outcome
from tests.unit.examples.script import (
    AWAY,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    REFUSED,
    RUNNING,
    ScriptedEndpoint,
    ScriptedResults,
    Watch,
    manifest,
    training,
)

if TYPE_CHECKING:
    from examples.client.request import Request

COMMAND = ["cats.json", "--endpoint", "abc", "--to", "a folder"]
CTRL_C = KeyboardInterrupt()
TRAINING = JobState("IN_PROGRESS", {"phase": "training", "step": 5, "total": 10})


@dataclass
class Stage:
    """Runs a submission over a script. ``said`` is what it printed, ``fetched`` where it fetched to."""

    endpoint: ScriptedEndpoint = field(default_factory=ScriptedEndpoint)
    results: ScriptedResults = field(default_factory=ScriptedResults)
    fetched: list[Path] = field(default_factory=list)
    fetch_code: int = 0
    clock: Watch = field(default_factory=Watch)

    def run(self, *seen: JobState | BaseException, command: list[str] = COMMAND, sent: bool = False) -> int:
        self.endpoint.seen = deque(seen)
        made = training(self.endpoint, self.results, self.clock, ("job-0",) if sent else ())
        options = parser().parse_args(command)
        return Submission(made, options, command, clock=self.clock, wait=self._wait).run()

    def fetch(self, _request: Request, folder: Path) -> int:
        self.fetched.append(folder)
        return self.fetch_code

    def _wait(self, seconds: float) -> None:
        self.clock.time += seconds


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setattr(examples.submit, "fetch", made.fetch)
    return made


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> deque[str | BaseException]:
    """Return what somebody at a terminal will type at each question."""
    typed: deque[str | BaseException] = deque()

    def answer(_question: str) -> str:
        wish = typed.popleft()
        if isinstance(wish, BaseException):
            raise wish
        return wish

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(examples.submit, "_is_watched", lambda: True)
    return typed


def test_a_training_is_sent_followed_and_fetched(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.run(QUEUED, RUNNING, TRAINING, TRAINING, FINISHED) == 0
    assert len(stage.endpoint.sent) == 1
    assert stage.fetched == [Path("a folder")]
    assert capsys.readouterr().err.splitlines() == [
        "Sent job job-1; its results go to outputs/run/cats.",
        "in the queue",
        "starting",
        "training, 5/10",
        "warning: a warning",
        "The training has finished: 12 steps, 18 files in the bucket.",
    ]


def test_without_a_folder_one_hears_how_to_fetch(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.run(FINISHED, command=COMMAND[:3]) == 0
    assert stage.fetched == []
    assert "python -m uploader fetch --bucket outputs --prefix run/cats FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize("code", [1, 2, 130])
def test_what_could_not_be_fetched_whole_is_no_success(stage: Stage, code: int) -> None:
    stage.fetch_code = code
    assert stage.run(FINISHED) == 1


def test_of_a_failed_training_one_hears_why_and_gets_what_is_proved(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stage.run(FAILED) == 1
    assert "The loss is not a number. (nan_loss)" in capsys.readouterr().err
    assert stage.fetched == []
    stage.results.of_manifest = manifest(Outcome.FAILED, job_id="job-2")
    assert stage.run(FAILED) == 1
    assert stage.fetched == [Path("a folder")]


def test_what_was_interrupted_is_sent_again_and_not_for_ever(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.run(INTERRUPTED, TRAINING, FINISHED) == 0
    assert len(stage.endpoint.sent) == 2
    assert "Sent again as job job-2; it goes on where it was." in capsys.readouterr().err
    stage.endpoint.sent.clear()
    assert stage.run(INTERRUPTED, command=[*COMMAND, "--again", "2"]) == 1
    assert len(stage.endpoint.sent) == 3


def test_a_lost_connection_is_told_once_and_waited_for(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.run(TRAINING, *[AWAY] * 50, TRAINING, FINISHED) == 0
    said = capsys.readouterr().err
    assert said.count(AWAY.sentence) == 1
    assert "RunPod answers again." in said
    assert len(stage.endpoint.sent) == 1


def test_a_job_that_was_sent_before_is_followed_and_not_sent(stage: Stage) -> None:
    assert stage.run(FINISHED, sent=True) == 0
    assert stage.endpoint.sent == []


def test_a_refused_key_ends_it(stage: Stage) -> None:
    with pytest.raises(EndpointError):
        stage.run(REFUSED)


# Ctrl-C


def test_where_nobody_can_be_asked_the_training_goes_on(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.run(TRAINING, CTRL_C) == 130
    assert stage.endpoint.cancelled == []
    follow = "python -m examples.submit cats.json --endpoint abc --to 'a folder' --follow job-1"
    assert f"The training goes on. Follow it again with: {follow}" in capsys.readouterr().err


def test_one_can_leave_go_on_or_cancel(stage: Stage, wishes: deque[str | BaseException]) -> None:
    wishes.extend(["", "l"])
    assert stage.run(TRAINING, CTRL_C, TRAINING, CTRL_C, FINISHED) == 130
    wishes.append(CTRL_C)
    assert stage.run(TRAINING, CTRL_C, FINISHED) == 130
    wishes.append(EOFError())
    assert stage.run(TRAINING, CTRL_C, FINISHED) == 130
    assert stage.endpoint.cancelled == []
    wishes.append("")
    assert stage.run(TRAINING, CTRL_C, FINISHED) == 0


def test_what_a_cancelled_worker_still_delivers_is_waited_for_and_fetched(
    stage: Stage, wishes: deque[str | BaseException]
) -> None:
    wishes.append(" C ")
    stage.results.of_manifest = manifest(Outcome.CANCELLED)
    assert stage.run(TRAINING, CTRL_C) == 1
    assert stage.endpoint.cancelled == ["job-1"]
    assert stage.fetched == [Path("a folder")]


def test_but_not_for_long(stage: Stage, wishes: deque[str | BaseException]) -> None:
    wishes.append("c")
    assert stage.run(TRAINING, CTRL_C) == 1
    assert 90 <= stage.clock.time < 110
    assert stage.fetched == []


def test_what_cannot_be_cancelled_is_watched_on(
    stage: Stage, wishes: deque[str | BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    wishes.append("c")
    made = ScriptedEndpoint()
    stage.endpoint = made
    original = made.send

    def send(body: dict[str, object]) -> str:
        job_id = original(body)
        made.refuses = EndpointError(Trouble.UNKNOWN, "This server cancels nothing.")
        return job_id

    made.send = send  # type: ignore[assignment,method-assign] # it refuses only what comes after
    assert stage.run(TRAINING, CTRL_C, FINISHED) == 0
    assert "This server cancels nothing." in capsys.readouterr().err


# The command line


@pytest.mark.parametrize("named", [["--follow", "x"], ["--follow=x"]])
def test_the_job_that_is_followed_is_taken_out_of_the_command(named: list[str]) -> None:
    assert without_follow([*COMMAND[:3], *named, *COMMAND[3:]]) == COMMAND


def test_what_is_wrong_with_files_and_settings_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.delenv("SUPABASE_URL", raising=False)
    job = tmp_path / "a.json"
    job.write_text('{"input": {"config": {}, "upload_config": {"bucket_name": "b", "folder_path": ""}}}')
    for arguments, sentence in (
        ([str(tmp_path / "none.json"), "--endpoint", "abc"], "No such file"),
        ([str(job), "--endpoint", "abc"], "RUNPOD_API_KEY is not set"),
        ([str(job), "--endpoint", "abc", "--to", "x"], "SUPABASE_URL is not set"),
    ):
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("submit: ")
        assert sentence in said
