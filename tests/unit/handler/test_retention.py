"""Old sessions go, but nothing that is not in the bucket is ever deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handler.retention import prune
from shared.contract.session import DrainRequest, Phase
from shared.contract.upload import DrainReceipt, Upload
from tests.unit.handler.made import NOW, folder, session

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_root_that_is_not_there_yet_has_nothing_to_prune(tmp_path: Path) -> None:
    prune(tmp_path / "none", "worker", 0)
