"""The whole way from start to verdict, with the local trainer in ai-toolkit's place and all that can go wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

import handler.watch
from handler.ending import Verdict, judge
from handler.expected import expected
from handler.follow import Follower
from handler.inventory import take_inventory
from handler.trainer import MARKER, PROJECT, start
from handler.watch import Report, Stop, StopRequest, Watched
from shared.contract.session import Outcome
from shared.errors import ErrorCode
from shared.toolkit import check_toolkit
from tests.unit.handler.toolkits import NAME, make_run, make_session, make_settings, watched

if TYPE_CHECKING:
    from pathlib import Path

    from shared.layout import SessionFolder

TOOLKIT = PROJECT / "local" / "trainer"
DATASET = PROJECT / "local" / "sample" / "dataset"


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler.watch, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(handler.watch, "USAGE_SECONDS", 0.1)


@dataclass(frozen=True)
class Done:
    session: SessionFolder
    watched: Watched
    verdict: Verdict

    @property
    def log(self) -> list[str]:
        return self.session.training_log.read_text().splitlines()

    @property
    def saved(self) -> list[tuple[str, int | None]]:
        return [(saved.path.removeprefix(f"{NAME}/"), saved.step) for saved in self.watched.state.saved]


def configure(session: SessionFolder, **process: Any) -> dict[str, Any]:
    dataset = session.dataset / "pictures"
    dataset.mkdir(parents=True)
    for name in ("cat.jpg", "cat.txt", "clock.jpg", "clock.txt"):
        shutil.copy(DATASET / name, dataset)
    train = {"batch_size": 1, "steps": 8, "lr": 1e-3, "disable_sampling": True, **process.pop("train", {})}
    settings = {
        "type": "sd_trainer",
        "training_folder": str(session.output),
        "device": "cpu",
        "network": {"type": "lora", "linear": 4, "linear_alpha": 4},
        "save": {"dtype": "float32", "save_every": 4, "max_step_saves_to_keep": 2},
        "datasets": [{"folder_path": str(dataset), "caption_ext": "txt", "resolution": [32], "num_workers": 2}],
        "train": train,
        "model": {"name_or_path": "x"},
        **process,
    }
    return {"job": "extension", "config": {"name": NAME, "process": [settings]}}


def run(
    session: SessionFolder,
    config: dict[str, Any],
    *,
    stall_seconds: float = 600,
    stop_at_step: int | None = None,
) -> Done:
    session.config_file.write_text(yaml.safe_dump(config))
    settings = make_settings(TOOLKIT, stall_seconds=stall_seconds)
    follower = Follower(session, make_run(session), fresh=True, console=list[str]().append)
    before = take_inventory(session.output)
    stop = StopRequest()

    def look(report: Report) -> None:
        if stop_at_step is not None and report.state.progress.step >= stop_at_step:
            stop.ask(Stop.CANCELLED)

    root = start(session, settings, os.environ)
    result = asyncio.run(watched(session, root, settings, follower, stop=stop, report=look))
    verdict = judge(result, before, take_inventory(session.output), expected(config, NAME), at=1.0)
    assert result.clean
    assert not list(members(session))
    return Done(session, result, verdict)


def members(session: SessionFolder) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["environ", "status"])
        if (process.info["environ"] or {}).get(MARKER) == str(session.path)
        and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def outcome(done: Done) -> tuple[Outcome, ErrorCode | None]:
    return done.verdict.ending.outcome, done.verdict.ending.error_code


def test_a_training_that_succeeds(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    done = run(session, configure(session))
    assert outcome(done) == (Outcome.FINISHED, None)
    assert done.watched.exit_code == 0
    assert done.saved == [(f"{NAME}_000000004.safetensors", 4), (f"{NAME}.safetensors", 8), ("optimizer.pt", 8)]
    assert (done.watched.state.progress.step, done.watched.state.progress.total) == (8, 8)
    assert "Saving at step 4" in done.log
    assert not any("\r" in line or "\x1b" in line for line in done.log)


def test_the_same_again_is_finished_after_no_step_at_all(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    config = configure(session)
    run(session, config)
    again = run(session, config)
    assert outcome(again) == (Outcome.FINISHED, None)
    assert (again.watched.state.start_step, again.saved[0]) == (8, (f"{NAME}.safetensors", 8))
    assert again.log.count("# Running job: my_lora") == 2


def test_both_halves_of_wan_are_announced(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    done = run(session, configure(session, model={"name_or_path": "x", "arch": "wan22_14b"}))
    assert outcome(done) == (Outcome.FINISHED, None)
    assert (f"{NAME}_high_noise.safetensors", 8) in done.saved
    assert (f"{NAME}_000000004_low_noise.safetensors", 4) in done.saved


@pytest.mark.parametrize(
    ("misbehave", "exit_code", "ended", "said"),
    [
        ({"kind": "error", "message": "boom"}, 1, (Outcome.FAILED, ErrorCode.TRAINING_FAILED), "RuntimeError: boom"),
        ({"kind": "exit"}, 0, (Outcome.FAILED, ErrorCode.NO_CHECKPOINT), "exit code 0"),
        ({"kind": "exit", "code": 5}, 5, (Outcome.FAILED, ErrorCode.TRAINING_FAILED), "exit code 5"),
        ({"kind": "signal", "signal": 11}, -11, (Outcome.FAILED, ErrorCode.TRAINING_FAILED), "SIGSEGV"),
        ({"kind": "signal", "signal": 15}, -15, (Outcome.INTERRUPTED, ErrorCode.INTERRUPTED), "from outside"),
        ({"kind": "oom"}, 1, (Outcome.FAILED, ErrorCode.GPU_OUT_OF_MEMORY), "training at step"),
        ({"kind": "nan"}, 0, (Outcome.FAILED, ErrorCode.NAN_LOSS), "learning rate"),
    ],
)
def test_trainings_that_fail(
    tmp_path: Path, misbehave: dict[str, Any], exit_code: int, ended: tuple[Outcome, ErrorCode], said: str
) -> None:
    session = make_session(tmp_path)
    done = run(session, configure(session, ferry={"misbehave": {"step": 3, **misbehave}}))
    assert done.watched.exit_code == exit_code
    assert outcome(done) == ended
    assert said in (done.verdict.ending.error or "")


def test_a_training_that_hangs(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    ferry = {"misbehave": {"kind": "hang", "step": 3}}
    done = run(session, configure(session, ferry=ferry), stall_seconds=2)
    assert outcome(done) == (Outcome.FAILED, ErrorCode.STALLED)
    assert "step 3" in (done.verdict.ending.error or "")


@pytest.mark.parametrize(("ferry", "exit_code"), [({}, 0), ({"ignore_sigint": True}, -9)])
def test_a_cancelled_training_leaves_nothing_behind(
    tmp_path: Path, ferry: dict[str, Any], exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler.watch, "POLITE_SECONDS", 5.0 if exit_code == 0 else 0.2)
    session = make_session(tmp_path)
    config = configure(session, train={"steps": 100000}, ferry={"step_seconds": 0.02, **ferry})
    done = run(session, config, stop_at_step=5)
    assert done.watched.exit_code == exit_code
    assert outcome(done) == (Outcome.CANCELLED, ErrorCode.CANCELLED)
    assert ("Job stopped" in done.log) is (exit_code == 0)
    assert not done.verdict.ending.by_itself


def test_a_killed_training_leaves_no_data_loader_behind(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    done = run(session, configure(session, ferry={"misbehave": {"kind": "signal", "step": 3}}))
    assert done.watched.exit_code == -9
    assert done.verdict.ending.error_code in {ErrorCode.HOST_OUT_OF_MEMORY, ErrorCode.INTERRUPTED}


def test_a_job_that_generates_is_judged_by_its_pictures(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    process = {
        "type": "to_folder",
        "output_folder": str(session.output / "pictures"),
        "generate": {"prompts": ["a cat"], "width": 32, "height": 32},
        "model": {"name_or_path": "x"},
    }
    done = run(session, {"job": "generate", "config": {"name": NAME, "process": [process]}})
    assert outcome(done) == (Outcome.FINISHED, None)


def test_a_dataset_without_pictures(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    config = configure(session)
    for picture in session.dataset.rglob("*.jpg"):
        picture.unlink()
    assert outcome(run(session, config)) == (Outcome.FAILED, ErrorCode.DATASET_EMPTY)


def test_the_toolkit_is_taken_for_one() -> None:
    assert isinstance(check_toolkit(make_settings(TOOLKIT)), str)
