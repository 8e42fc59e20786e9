"""Old sessions go, but nothing that is not in the bucket is ever deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.retention import prune
from shared.contract.process import identify
from shared.contract.session import DrainRequest, Phase
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode
from shared.layout import SessionFolder, sessions
from shared.retention import ASIDE
from tests.unit.handler.made import NOW, folder, session
from tests.unit.handler.toolkits import without_end

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def make(root: Path, number: int, *, complete: bool = True, answers: str = "t", worker: str = "worker") -> Path:
    made = folder(root, f"training_session_{number}")
    drain = DrainRequest(token="t", at=NOW)
    session(made, phase=Phase.CLOSED, drain=drain, worker=worker).write(made.session_file)
    receipt = DrainReceipt(token=answers, complete=complete)
    Upload(worker="worker", receipt=receipt).write(made.upload_file)
    return made.path


def test_the_newest_delivered_sessions_of_this_worker_stay(tmp_path: Path) -> None:
    delivered = [make(tmp_path, number) for number in (1, 2, 3, 4)]
    incomplete = make(tmp_path, 5, complete=False)
    unanswered = make(tmp_path, 6, answers="of-an-earlier-drain")
    foreign = make(tmp_path, 7, worker="another")
    prune(tmp_path, "worker", 2)
    assert [path.exists() for path in delivered] == [False, False, True, True]
    assert incomplete.exists()
    assert unanswered.exists()
    assert foreign.exists()


def test_a_session_whose_trainer_lives_or_that_is_not_closed_stays(tmp_path: Path) -> None:
    alive, open_ = (SessionFolder(make(tmp_path, number)) for number in (1, 2))
    drain = DrainRequest(token="t", at=NOW)
    session(alive, phase=Phase.CLOSED, drain=drain, trainer=identify()).write(alive.session_file)
    session(open_, phase=Phase.DRAINING, drain=drain).write(open_.session_file)
    prune(tmp_path, "worker", 0, lambda: False)
    assert alive.path.exists()
    assert open_.path.exists()


def test_a_refused_run_goes_unless_it_has_written_something(tmp_path: Path) -> None:
    empty, written = (folder(tmp_path, f"training_session_{number}") for number in (1, 2))
    (written.output / "sample.jpg").touch()
    for made in (empty, written):
        session(made, phase=Phase.CLOSED).write(made.session_file)
        Upload(worker="worker", refused=ErrorCode.PREFIX_IN_USE).write(made.upload_file)
    prune(tmp_path, "worker", 0)
    assert not empty.path.exists()
    assert written.path.exists()


def test_as_many_more_go_as_it_takes_to_have_enough_room(tmp_path: Path) -> None:
    delivered = [make(tmp_path, number) for number in (1, 2, 3)]
    prune(tmp_path, "worker", 3, lambda: not delivered[1].exists())
    assert [path.exists() for path in delivered] == [False, False, True]


def test_a_deletion_that_was_cut_off_is_finished_and_nobody_meets_half_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr("shared.retention.shutil.rmtree", lambda *_, **__: None)
        prune(tmp_path, "worker", 0)
    assert list(sessions(tmp_path)) == []
    assert len(list(tmp_path.iterdir())) == 1
    prune(tmp_path, "worker", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_not_there_yet_has_nothing_to_prune(tmp_path: Path) -> None:
    prune(tmp_path / "none", "worker", 0)


def test_a_session_that_cannot_be_deleted_whole_is_put_aside_and_ends_nothing(tmp_path: Path) -> None:
    delivered = make(tmp_path, 1)
    with without_end(delivered / "output"):
        for _ in range(2):
            prune(tmp_path, "worker", 0)
            assert list(sessions(tmp_path)) == []
        left = tmp_path / f"{ASIDE}training_session_1"
        if left.exists():
            left.rename(delivered)
