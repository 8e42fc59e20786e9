"""A follower that is killed at any point and started again neither repeats nor loses a line."""

from __future__ import annotations

import errno
import os
import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import handler.follow
from handler.follow import Follower, Position, position_file
from handler.saves import Run
from shared.contract.session import Phase
from shared.patience import patiently
from tests.unit.handler.toolkits import LOGS, make_follower, make_run, make_session

if TYPE_CHECKING:
    from shared.layout import SessionFolder

SUCCESS = (LOGS / "success.out").read_bytes()


def append(session: SessionFolder, data: bytes) -> None:
    with session.trainer_output.open("ab") as file:
        file.write(data)


def follower(session: SessionFolder, *, fresh: bool, printed: list[str] | None = None) -> Follower:
    run = Run(name="tiny_lora", output=Path("/workspace/r1/out"), exists=lambda _: False)
    return Follower(session, run, fresh=fresh, console=(list[str]() if printed is None else printed).append)


def followed_without_a_break(root: Path) -> tuple[str, list[str], Follower]:
    session, printed = make_session(root), list[str]()
    follow = follower(session, fresh=True, printed=printed)
    append(session, SUCCESS)
    follow.finish()
    return session.training_log.read_text(), printed, follow


def test_everything_is_followed_to_the_end(tmp_path: Path) -> None:
    log, printed, follow = followed_without_a_break(tmp_path)
    assert log.splitlines() == printed
    assert follow.state.progress.step == 40
    assert "\r" not in log
    assert follow.tail == tuple(printed[-200:])


@pytest.mark.parametrize("seed", range(8))
def test_kills_at_any_point_leave_the_same_log_and_state(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, printed, whole = followed_without_a_break(tmp_path / "whole")
    chance = random.Random(seed)
    # Notes at times of their own, so that a kill finds older and newer ones.
    monkeypatch.setattr(handler.follow, "NOTE_SECONDS", 0 if seed % 2 else 5)
    session, seen = make_session(tmp_path / "broken"), list[str]()
    follow = follower(session, fresh=True, printed=seen)
    rest = SUCCESS
    while rest:
        cut = chance.randrange(1, 900)
        append(session, rest[:cut])
        rest = rest[cut:]
        follow.read()
        if chance.random() < 0.5:
            follow = follower(session, fresh=False, printed=seen)
    follow.finish()
    assert session.training_log.read_text() == log
    assert seen == printed
    assert [saved.path for saved in follow.state.saved] == [saved.path for saved in whole.state.saved]
    assert follow.state.progress == whole.state.progress


def test_a_kill_between_the_log_and_the_note_is_found_out(tmp_path: Path) -> None:
    log, printed, _ = followed_without_a_break(tmp_path / "whole")
    session, seen = make_session(tmp_path / "broken"), list[str]()
    follow = follower(session, fresh=True, printed=seen)
    note = position_file(session).read_bytes()
    append(session, SUCCESS)
    follow.finish()
    position_file(session).write_bytes(note)
    with session.training_log.open("ab") as file:
        file.write(b"torn")
    follower(session, fresh=False, printed=seen).finish()
    assert session.training_log.read_text() == log + "torn"
    append(session, b"\none more\n")
    follower(session, fresh=False, printed=seen).finish()
    assert session.training_log.read_text() == log + "one more\n"
    assert seen == [*printed, "one more"]


def test_the_bar_that_is_being_drawn_counts_already(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    follow = make_follower(session)
    append(session, b"\rmy_lora:  25%|##| 10/40 [00:10<00:30,  2.00s/it, lr: 1.0e-04 loss: 5.000e-01]")
    assert follow.read()
    assert follow.state.progress.step == 10
    append(session, b"\rmy_lora:  28%|##| 11/40 [00:1")
    follow.read()
    assert follow.state.progress.step == 10
    assert not follow.read()


def test_a_log_that_the_run_brought_with_it_is_carried_on(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    session.training_log.parent.mkdir()
    session.training_log.write_text("from another worker\n")
    follow = make_follower(session)
    append(session, b"here\n")
    follow.finish()
    assert session.training_log.read_text() == "from another worker\nhere\n"
    assert follow.tail == ("here",)


def test_a_second_trainer_begins_with_a_state_of_its_own(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    first = make_follower(session)
    append(session, b"Job stopped\n")
    assert first.read()
    append(session, b"last words")
    second = make_follower(session, fresh=True)
    append(session, b"\nagain\n")
    second.finish()
    assert not second.state.stopped
    assert second.state.phase is Phase.LOADING
    assert session.training_log.read_text() == "Job stopped\nlast words\nagain\n"
    assert second.tail == ("again",)


def test_a_saved_checkpoint_is_noted_at_once(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    follow = make_follower(session)
    append(session, f"Saved checkpoint to {session.output}/my_lora/my_lora.safetensors\n".encode())
    follow.read()
    note = Position.read(position_file(session))
    assert note is not None
    assert note.offset == session.trainer_output.stat().st_size
    assert [saved.path for saved in note.state.saved] == ["my_lora/my_lora.safetensors"]


def test_an_unreadable_note_loses_nothing(tmp_path: Path) -> None:
    session = make_session(tmp_path)
    append(session, b"one\n")
    make_follower(session).read()
    position_file(session).write_text("{")
    follow = Follower(session, make_run(session), fresh=False, console=list[str]().append)
    follow.finish()
    assert session.training_log.read_text().splitlines()[-1] == "one"


@pytest.mark.guarantee("told", fault="the volume hides the trainer's output when a handler takes it over")
def test_a_volume_that_stutters_has_nothing_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, printed = make_session(tmp_path), list[str]()
    follow = follower(session, fresh=True, printed=printed)
    append(session, SUCCESS)
    follow.finish()
    stat, answers = Path.stat, [OSError(errno.ESTALE, os.strerror(errno.ESTALE))] * 3

    def stuttering(path: Path, **options: bool) -> os.stat_result:
        if path.name in {"trainer.out", "training.log"} and answers:
            raise answers.pop()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", stuttering)
    monkeypatch.setattr(handler.follow, "patiently", partial(patiently, sleep=lambda _: None))
    again = follower(session, fresh=False, printed=printed)
    again.finish()
    assert answers == []
    assert session.training_log.read_text().splitlines() == printed
    assert again.state == follow.state
