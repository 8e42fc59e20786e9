"""What ``status`` shows: which runs, how they stand, and for how long it follows them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from shared.contract.process import identify
from shared.contract.session import Ending, Outcome, Phase, Progress, Session
from shared.contract.upload import Count, Failure, StorageState, Upload, Worker
from shared.errors import ErrorCode
from shared.layout import SessionFolder, worker_file
from uploader.commands.overview import Overview, Row, Speeds, look
from uploader.commands.status import followed
from uploader.commands.table import table

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0
SOME = Count(files=2, bytes=3 << 20)


def session(run: str = "training_session_1", phase: Phase = Phase.TRAINING, **fields: Any) -> Session:
    ending = Ending(outcome=Outcome.FINISHED, by_itself=True, at=NOW) if phase is Phase.CLOSED else None
    told: dict[str, Any] = {"worker": "pod", "model_name": "my_lora", "ending": ending, **fields}
    return Session(
        session_id=run,
        handler=identify(),
        input_hash="hash",
        name="my_lora",
        bucket="outputs",
        prefix="runs/my_lora",
        created_at=NOW,
        phase=phase,
        progress=Progress(step=250, total=2000, eta_seconds=600),
        **told,
    )


def row(
    run: str = "training_session_1", *, alive: bool = True, phase: Phase | None = Phase.TRAINING, **upload: Any
) -> Row:
    told = None if phase is None else session(run, phase)
    return Row(run, told, Upload(worker="pod", **upload), alive)


def beat(root: Path, worker: str, at: float) -> None:
    file = worker_file(root, worker)
    file.parent.mkdir(parents=True, exist_ok=True)
    Worker(worker=worker, pid=7, host="host", boot_id="", beat=1, at=at, storage=StorageState.OK).write(file)


def drawn(overview: Overview, width: int | None, speeds: Speeds | None = None) -> str:
    written = io.StringIO()
    console = Console(file=written, width=width or 10_000, no_color=True)
    console.print(table(overview, speeds or Speeds(), width))
    return written.getvalue()


# Looking


def test_a_run_is_alive_when_the_uploader_that_carries_it_beats(tmp_path: Path) -> None:
    for number, worker in ((1, "pod"), (2, "gone")):
        folder = SessionFolder(tmp_path / f"training_session_{number}")
        folder.path.mkdir()
        session(folder.session_id, worker=worker).write(folder.session_file)
        Upload(worker=worker, uploaded=SOME).write(folder.upload_file)
    beat(tmp_path, "pod", NOW - 29)
    beat(tmp_path, "gone", NOW - 31)
    seen = look(tmp_path, None, NOW)
    assert [(each.run, each.alive) for each in seen.rows] == [
        ("training_session_1", True),
        ("training_session_2", False),
    ]
    assert [worker.worker for worker in seen.workers] == ["pod"]
    assert seen.rows[0].upload.uploaded == SOME


def test_a_session_that_no_uploader_has_taken_up_is_shown_and_a_broken_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "training_session_1").mkdir()
    (tmp_path / "training_session_1" / "session.json").write_text("{")
    folder = SessionFolder(tmp_path / "training_session_2")
    folder.path.mkdir()
    session(folder.session_id, phase=Phase.STAGING).write(folder.session_file)
    [seen] = look(tmp_path, None, NOW).rows
    assert (seen.run, seen.phase, seen.alive, seen.upload.uploaded.files) == (folder.session_id, "staging", False, 0)


def test_the_runs_of_a_watched_folder_come_after_the_sessions(tmp_path: Path) -> None:
    state = tmp_path / "watched" / ".uploader" / "pictures"
    state.mkdir(parents=True)
    Upload(worker="pod").write(state / "upload.json")
    [seen] = look(tmp_path, tmp_path / "watched", NOW).rows
    assert (seen.run, seen.model, seen.phase) == ("pictures", "pictures", "watched")


@pytest.mark.parametrize(
    ("seen", "moving"),
    [
        (row(), True),
        (row(alive=False), False),
        (row(phase=Phase.CLOSED), False),
        (row(phase=Phase.CLOSED, pending=SOME), True),
        (row(phase=None), False),
        (row(phase=None, pending=SOME), True),
        (row(phase=None, pending=SOME, alive=False), False),
        (row(refused=ErrorCode.PREFIX_IN_USE), False),
    ],
)
def test_there_is_something_to_wait_for_where_somebody_is_there_to_bring_it(seen: Row, moving: bool) -> None:
    assert seen.moving is moving


# Following


def test_it_follows_as_long_as_anything_moves() -> None:
    story = [Overview((row(),), ()), Overview((row(phase=Phase.CLOSED, pending=SOME),), ()), Overview((), ())]
    shown, waited = list[Overview](), list[float]()
    last = followed(lambda: story[len(shown)], shown.append, waited.append, follow=True, for_ever=False)
    assert (shown, waited) == (story, [1.0, 1.0])
    assert last is story[-1]


def test_told_not_to_follow_it_shows_once() -> None:
    shown, waited = list[Overview](), list[float]()
    followed(lambda: Overview((row(),), ()), shown.append, waited.append, follow=False, for_ever=False)
    assert (len(shown), waited) == (1, [])


def test_told_to_follow_it_stays_though_nothing_moves() -> None:
    shown = list[Overview]()

    def wait(_seconds: float) -> None:
        if len(shown) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        followed(lambda: Overview((), ()), shown.append, wait, follow=True, for_ever=True)
    assert len(shown) == 3


def test_speed_is_what_moved_in_the_last_ten_seconds() -> None:
    speeds = Speeds()
    for now, moved in ((0, 0), (1, 100), (12, 1200), (13, 1300)):
        speeds.note(Overview((row(moved=moved),), ()), now)
    assert speeds.of(row()) == 100.0
    assert speeds.of(row("training_session_2")) == 0.0


def test_who_has_looked_once_knows_no_speed() -> None:
    speeds = Speeds()
    speeds.note(Overview((row(moved=5),), ()), 0)
    assert speeds.of(row(moved=5)) == 0.0


# The table


@pytest.mark.parametrize("width", [80, 95, 110, 140])
def test_numbers_are_never_cut_off_only_a_long_name_is(width: int) -> None:
    long = "a-model-with-a-name-that-is-far-too-long-for-this"
    seen = Row(
        "training_session_1795478202", session(model_name=long), Upload(worker="pod", uploaded=SOME, pending=SOME), True
    )
    head, line = drawn(Overview((seen,), ()), width).splitlines()[:2]
    assert max(len(line), len(head)) <= width
    assert "training 250/2000" in line
    assert line.count("2, 3.0 MiB") == 2
    assert ("eta" in head, "speed" in head, "session" in head) == (width >= 110, width >= 95, width >= 140)


def test_nothing_is_left_out_where_there_is_no_terminal() -> None:
    failures = tuple(Failure(path=f"{n}.png", reason="refused", permanent=True) for n in range(12))
    rows = tuple(
        row(f"training_session_{n}", phase=Phase.CLOSED, failures=failures if n == 1 else ()) for n in range(9)
    )
    told = drawn(Overview(rows, ()), None)
    assert [f"training_session_{n}" in told for n in range(9)] == [True] * 9
    assert told.count(".png: refused") == 12


def test_a_terminal_shows_the_last_delivered_runs_and_everything_that_is_not() -> None:
    rows = [row(f"training_session_{n}", phase=Phase.CLOSED) for n in range(20)]
    rows[3] = row("training_session_3", phase=Phase.CLOSED, failed=SOME)
    told = drawn(Overview(tuple(rows), ()), 80)
    assert [n for n in range(20) if f"training_session_{n} " in told] == [3, 15, 16, 17, 18, 19]
    assert "14 earlier runs are delivered" in told


def test_runs_are_called_by_their_models_as_long_as_that_tells_them_apart() -> None:
    assert drawn(Overview((row(),), ()), 80).splitlines()[1].startswith("my_lora ")
    two = drawn(Overview((row(), row("training_session_2")), ()), 80).splitlines()
    assert [line.split()[0] for line in two[1:3]] == ["training_session_1", "training_session_2"]


def test_what_somebody_should_read_stands_below() -> None:
    waits = Failure(path="b.png", reason="it has not been uploaded yet", permanent=False)
    given_up = Failure(path="a.png", reason="Storage refuses it", permanent=True)
    seen = row(
        storage=StorageState.DOWN,
        failures=(given_up, waits),
        warnings=("A checkpoint waits.",),
        in_flight=tuple(f"my_lora/{n}.bin" for n in range(5)),
    )
    told = drawn(Overview((seen,), ()), 110).splitlines()[2:]
    assert told == [
        "my_lora: Storage is down; what waits is sent when it is back.",
        "my_lora: A checkpoint waits.",
        "my_lora: a.png: Storage refuses it",
        "my_lora: sending 0.bin, 1.bin, 2.bin, 2 more",
        "No uploader lives here: start it with python -m uploader run.",
    ]


def test_a_refused_run_says_why() -> None:
    told = drawn(Overview((row(refused=ErrorCode.PREFIX_IN_USE, refusal="It is another run's."),), ()), 110)
    assert "refused 250/2000" in told
    assert "my_lora: It is another run's." in told


def test_names_cannot_play_with_the_terminal() -> None:
    seen = Row("a\x1b[2Jb", None, Upload(worker="[red]w"), False)
    told = drawn(Overview((seen,), ()), 110)
    assert "\x1b" not in told
    assert r"a\x1b[2Jb" in told
