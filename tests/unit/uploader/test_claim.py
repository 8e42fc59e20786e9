from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Manifest, Status
from shared.contract.session import Outcome, Phase
from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.harbour import Harbour
from uploader.claim import LOOK_SECONDS, SILENCE_SECONDS, ClaimLostError, Claims, Standing

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.run import Run

PREFIX = "run/pictures"


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def claims(harbour: Harbour, worker: str = "worker-1", session: str = "training_session_1") -> Claims:
    from uploader.run import session_run

    run = session_run(harbour.session(session))
    assert run is not None
    return Claims(harbour.storage, run, worker, harbour.clock)


def status(harbour: Harbour, counter: int, epoch: int = 1, session: str = "training_session_1") -> None:
    document = Status(
        session_id=session, worker="w", epoch=epoch, counter=counter, at=0.0, phase=Phase.TRAINING
    )  # fmt: skip
    harbour.storage._store(f"{PREFIX}/status.json", document.dump(), {})


def run_of(claim: Claims) -> Run:
    return claim._run


def test_the_first_takes_the_first_epoch_and_leaves_nothing_else_behind(harbour: Harbour) -> None:
    claim = claims(harbour)
    assert claim.pursue() is Standing.OWNED
    assert list(harbour.storage.objects) == [f"{PREFIX}/claims/1.json"]
    claim.assure(now=True)


def test_a_restarted_process_goes_on_with_its_own_claim(harbour: Harbour) -> None:
    claims(harbour).pursue()
    again = claims(harbour)
    assert again.pursue() is Standing.OWNED
    assert again.held is not None
    assert again.held.epoch == 1


def test_a_process_that_was_killed_right_after_the_move_knows_its_claim(harbour: Harbour) -> None:
    harbour.storage.fail("move", Trouble.UNREACHABLE, after=True)
    with pytest.raises(StorageError):
        claims(harbour).pursue()
    assert claims(harbour).pursue() is Standing.OWNED


def test_a_live_owner_keeps_everybody_else_out(harbour: Harbour) -> None:
    claims(harbour).pursue()
    other = claims(harbour, session="training_session_2")
    status(harbour, 1)
    assert other.pursue() is Standing.WATCHING
    harbour.clock.advance(5)
    status(harbour, 2)
    assert other.pursue() is Standing.IN_USE


def test_a_silent_owner_is_followed_after_a_while_on_our_own_clock(harbour: Harbour) -> None:
    claims(harbour).pursue()
    status(harbour, 7)
    other = claims(harbour, session="training_session_2")
    assert other.pursue() is Standing.WATCHING
    harbour.clock.advance(SILENCE_SECONDS - 1)
    assert other.pursue() is Standing.WATCHING
    harbour.clock.advance(1)
    assert other.pursue() is Standing.OWNED
    assert other.held is not None
    assert other.held.epoch == 2


def test_an_owner_that_never_wrote_a_status_is_given_the_same_time(harbour: Harbour) -> None:
    claims(harbour).pursue()
    other = claims(harbour, session="training_session_2")
    assert other.pursue() is Standing.WATCHING
    harbour.clock.advance(SILENCE_SECONDS)
    assert other.pursue() is Standing.OWNED


def test_an_owner_that_has_finished_need_not_be_waited_for(harbour: Harbour) -> None:
    claims(harbour).pursue()
    status(harbour, 7)
    manifest = Manifest(
        outcome=Outcome.FINISHED, complete=True, session_id="training_session_1", model_name="m", created_at=0.0
    )
    harbour.storage._store(f"{PREFIX}/manifest.json", manifest.dump(), {})
    assert claims(harbour, session="training_session_2").pursue() is Standing.OWNED


def test_of_several_exactly_one_wins(harbour: Harbour) -> None:
    rivals = [claims(harbour, session=f"training_session_{number}") for number in range(6)]
    for rival in rivals:
        rival._newest = lambda: None  # type: ignore[method-assign]  # all have looked before the first has moved
    assert sorted(rival.pursue() for rival in rivals) == [Standing.OWNED] + [Standing.WATCHING] * 5
    assert [key for key in harbour.storage.objects if key.endswith(".token")] == []


def test_an_owner_that_has_lost_notices_when_it_looks(harbour: Harbour) -> None:
    claim = claims(harbour)
    claim.pursue()
    thing = harbour.storage.objects[f"{PREFIX}/claims/1.json"]
    harbour.storage._store(f"{PREFIX}/claims/2.json", thing.content.replace(b'"token": "', b'"token": "x'), {})
    claim.assure()
    harbour.clock.advance(LOOK_SECONDS)
    with pytest.raises(ClaimLostError):
        claim.assure()
    assert claim.lost
    with pytest.raises(ClaimLostError):
        claim.assure()


def test_the_lanes_ask_seldom_and_the_office_always(harbour: Harbour) -> None:
    claim = claims(harbour)
    claim.pursue()
    asked = harbour.storage.count("folder")
    threads = [threading.Thread(target=claim.assure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert harbour.storage.count("folder") == asked
    claim.assure(now=True)
    assert harbour.storage.count("folder") == asked + 1


def test_a_claim_of_a_later_version_is_respected(harbour: Harbour) -> None:
    harbour.storage._store(f"{PREFIX}/claims/3.json", b'{"version": 2}', {})
    harbour.storage._store(f"{PREFIX}/claims/notes.json", b"", {})
    with pytest.raises(StorageError, match="no claim that this version understands"):
        claims(harbour).pursue()
