from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Claim, Manifest, Status
from shared.contract.session import Outcome, Phase
from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.harbour import Harbour
from tests.unit.uploader.memory_storage import BUCKET
from uploader.claim import LOOK_SECONDS, ClaimLostError, Claims
from uploader.registry import Registry
from uploader.run import session_run
from uploader.silence import SILENCE_SECONDS
from uploader.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PREFIX = "run/pictures"
FIRST, SECOND = "training_session_1", "training_session_2"


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def claims(harbour: Harbour, worker: str = "worker-1", session: str = FIRST) -> Claims:
    run = session_run(harbour.session(session))
    assert run is not None
    return Claims(harbour.storage, run, worker, harbour.clock)


def has_carried(harbour: Harbour, session: str = FIRST, epoch: int = 1) -> None:
    """Leave what a run that once had the prefix leaves behind."""
    harbour.session(session).ledger(epoch).touch()


def status(harbour: Harbour, counter: int, epoch: int = 1, session: str = FIRST) -> None:
    document = Status(session_id=session, worker="w", epoch=epoch, counter=counter, at=0.0, phase=Phase.TRAINING)
    harbour.storage._store(f"{PREFIX}/status.json", document.dump(), {})


def manifest(harbour: Harbour, session: str = FIRST) -> None:
    document = Manifest(outcome=Outcome.FINISHED, complete=True, session_id=session, model_name="m", created_at=0.0)
    harbour.storage._store(f"{PREFIX}/manifest.json", document.dump(), {})


def usurp(harbour: Harbour, epoch: int = 2, session: str = SECOND, token: str = "another") -> None:
    claim = Claim(epoch=epoch, token=token, session_id=session, worker="worker-9", at=0.0)
    harbour.storage._store(f"{PREFIX}/claims/{epoch}.json", claim.dump(), {})


def names(harbour: Harbour) -> list[str]:
    return sorted(key.removeprefix(f"{PREFIX}/claims/") for key in harbour.storage.objects if "/claims/" in key)


def epoch_of(claim: Claims) -> int | None:
    return claim.held.epoch if claim.held else None


def seconds_until_owned(harbour: Harbour, claim: Claims) -> float:
    """Pursue a claim once a second; return after how many seconds it was taken."""
    began = harbour.clock.monotonic()
    while claim.pursue() is not Standing.OWNED:
        assert harbour.clock.monotonic() - began < 1000
        harbour.clock.advance(1)
    return harbour.clock.monotonic() - began


# Taking


def test_the_first_takes_the_first_epoch_and_leaves_nothing_else_behind(harbour: Harbour) -> None:
    claim = claims(harbour)
    assert claim.pursue() is Standing.OWNED
    assert list(harbour.storage.objects) == [f"{PREFIX}/claims/1.json"]
    claim.assure(now=True)


@pytest.mark.guarantee("one-writer", fault="several workers want one prefix at once")
def test_of_several_exactly_one_wins(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *waiting = [claims(harbour, f"worker-{number}", f"training_session_{number}") for number in range(6)]
    move, outcomes = harbour.storage.move, []

    def move_after_the_others_have_looked(bucket: str, source: str, target: str) -> None:
        if waiting:
            outcomes.append(waiting.pop().pursue())
        move(bucket, source, target)

    monkeypatch.setattr(harbour.storage, "move", move_after_the_others_have_looked)
    outcomes.append(first.pursue())
    assert sorted(outcomes) == [Standing.OWNED] + [Standing.WATCHING] * 5
    assert names(harbour) == ["1.json"]


def test_who_has_lost_a_race_does_not_disturb_what_the_winner_remembers(harbour: Harbour) -> None:
    winner, loser = claims(harbour, "worker-1"), claims(harbour, "worker-2")
    move = harbour.storage.move

    def move_second(bucket: str, source: str, target: str) -> None:
        harbour.storage.move = move  # type: ignore[method-assign]  # only once
        assert winner.pursue() is Standing.OWNED
        move(bucket, source, target)

    harbour.storage.move = move_second  # type: ignore[method-assign]  # the other comes in between
    assert loser.pursue() is Standing.WATCHING
    assert claims(harbour, "worker-1").pursue() is Standing.OWNED
    assert claims(harbour, "worker-2").pursue() is Standing.WATCHING
    assert [path.name for path in harbour.session().path.glob("claim*")] == ["claim.worker-1.json"]


def test_what_another_has_just_closed_is_not_taken_up_but_a_run_that_goes_on_there_has_it_at_once(
    harbour: Harbour,
) -> None:
    usurp(harbour, epoch=2, session=FIRST)
    status(harbour, counter=1, epoch=2)
    manifest(harbour)
    run = session_run(harbour.session(FIRST, worker="gone"))
    assert run is not None
    assert Claims(harbour.storage, run, "heir", harbour.clock).pursue() is Standing.WATCHING
    assert Claims(harbour.storage, run, "gone", harbour.clock).pursue() is Standing.OWNED


@pytest.mark.guarantee("one-writer", fault="a worker is frozen between its look at the claims and its own claim")
def test_whoever_was_frozen_before_the_move_does_not_win_an_old_epoch(harbour: Harbour) -> None:
    manifest(harbour)
    assert claims(harbour).pursue() is Standing.OWNED
    status(harbour, 1)
    late = claims(harbour, session=SECOND)
    move = harbour.storage.move

    def frozen(bucket: str, source: str, target: str) -> None:
        harbour.storage.move = move  # type: ignore[method-assign]  # only once
        usurp(harbour, epoch=3)
        move(bucket, source, target)

    harbour.storage.move = frozen  # type: ignore[method-assign]  # meanwhile two others have had the prefix
    assert late.pursue() is Standing.WATCHING
    assert late.held is None


def test_what_is_superseded_is_swept_away_and_foreign_names_are_left_alone(harbour: Harbour) -> None:
    for name in ("1.json", "7.json", "0.json", "007.json", "notes.json", "readme.txt", "lost.token"):
        harbour.storage._store(f"{PREFIX}/claims/{name}", b"{}", {})
    claim = claims(harbour)
    seconds_until_owned(harbour, claim)
    assert epoch_of(claim) == 8
    assert names(harbour) == ["0.json", "007.json", "8.json", "notes.json", "readme.txt"]


def test_litter_that_cannot_be_swept_away_holds_up_nothing(harbour: Harbour) -> None:
    usurp(harbour, 4, FIRST)
    harbour.storage.fail("remove", Trouble.DENIED, times=100)
    claim = claims(harbour)
    seconds_until_owned(harbour, claim)
    assert epoch_of(claim) == 5


def test_a_claim_that_is_swept_away_between_listing_and_reading_is_looked_for_again(harbour: Harbour) -> None:
    usurp(harbour, 1)
    read = harbour.storage.read

    def swept(bucket: str, key: str, limit: int = 0) -> bytes | None:
        harbour.storage.read = read  # type: ignore[method-assign]  # only once
        usurp(harbour, 2)
        harbour.storage.objects.pop(f"{PREFIX}/claims/1.json")
        return read(bucket, key)

    harbour.storage.read = swept  # type: ignore[method-assign]  # a successor comes in between
    newest = Registry(harbour.storage, BUCKET, PREFIX).newest()
    assert newest is not None
    assert newest.epoch == 2


# Coming back


def test_a_restarted_process_goes_on_with_its_own_claim(harbour: Harbour) -> None:
    claims(harbour).pursue()
    again = claims(harbour)
    assert again.pursue() is Standing.OWNED
    assert epoch_of(again) == 1


@pytest.mark.guarantee("one-writer", fault="the uploader is killed right after it has made its claim")
def test_a_process_that_was_killed_right_after_the_move_knows_its_claim(harbour: Harbour) -> None:
    harbour.storage.fail("move", Trouble.UNREACHABLE, after=True)
    with pytest.raises(StorageError):
        claims(harbour).pursue()
    assert claims(harbour).pursue() is Standing.OWNED


@pytest.mark.parametrize(("worker", "token_is_old"), [("worker-2", False), ("worker-1", True)])
@pytest.mark.guarantee("one-writer", fault="a session's folder is copied to another machine")
def test_a_copied_folder_is_no_claim(harbour: Harbour, tmp_path: Path, worker: str, *, token_is_old: bool) -> None:
    """Of another worker the token proves nothing, and of the same name only the token in force does."""
    original = claims(harbour)
    original.pursue()
    copied = Harbour(tmp_path / "copied", harbour.storage)
    copied.clock = harbour.clock
    shutil.copytree(harbour.session().path, copied.root / FIRST)
    if token_is_old:
        usurp(harbour, 2, FIRST)
    else:
        status(harbour, 1)
    twin = claims(copied, worker)
    assert twin.pursue() is Standing.WATCHING
    status(harbour, 2, epoch=2 if token_is_old else 1)
    assert twin.pursue() in {Standing.IN_USE, Standing.TENDED}


# Others


def test_a_live_owner_keeps_everybody_else_out(harbour: Harbour) -> None:
    claims(harbour).pursue()
    other = claims(harbour, session=SECOND)
    status(harbour, 1)
    assert other.pursue() is Standing.WATCHING
    harbour.clock.advance(5)
    status(harbour, 2)
    assert other.pursue() is Standing.IN_USE


def test_a_live_owner_of_the_very_same_run_is_told_apart(harbour: Harbour) -> None:
    claims(harbour).pursue()
    other = claims(harbour, "worker-2")
    status(harbour, 1)
    other.pursue()
    status(harbour, 2)
    assert other.pursue() is Standing.TENDED


@pytest.mark.guarantee("nothing-lost", fault="the owner of a prefix is gone")
def test_a_silent_owner_is_followed_after_a_while_on_our_own_clock(harbour: Harbour) -> None:
    claims(harbour).pursue()
    status(harbour, 7)
    other = claims(harbour, session=SECOND)
    assert seconds_until_owned(harbour, other) == SILENCE_SECONDS
    assert epoch_of(other) == 2


def test_an_owner_that_never_wrote_a_status_is_given_the_same_time(harbour: Harbour) -> None:
    claims(harbour).pursue()
    assert seconds_until_owned(harbour, claims(harbour, session=SECOND)) == SILENCE_SECONDS


@pytest.mark.guarantee("one-writer", fault="Storage is away for everybody, so that no owner can show that it lives")
def test_after_an_outage_an_owner_is_given_all_its_time_again(harbour: Harbour) -> None:
    claims(harbour).pursue()
    status(harbour, 7)
    other = claims(harbour, session=SECOND)
    for _ in range(60):
        assert other.pursue() is Standing.WATCHING
        harbour.clock.advance(1)
    harbour.clock.advance(3600)
    assert seconds_until_owned(harbour, other) == SILENCE_SECONDS


def test_an_owner_that_has_finished_need_not_be_waited_for(harbour: Harbour) -> None:
    claims(harbour).pursue()
    status(harbour, 7)
    manifest(harbour)
    assert claims(harbour, session=SECOND).pursue() is Standing.OWNED


def test_an_epoch_that_somebody_else_takes_begins_a_new_silence(harbour: Harbour) -> None:
    usurp(harbour, 1, FIRST)
    other = claims(harbour, session=SECOND)
    other.pursue()
    harbour.clock.advance(20)
    usurp(harbour, 2, FIRST)
    assert seconds_until_owned(harbour, other) == SILENCE_SECONDS
    assert epoch_of(other) == 3


@pytest.mark.guarantee("true-manifest", fault="a run that was left behind is found when a later one has long finished")
def test_a_run_does_not_come_back_over_a_later_one_unless_somebody_wishes_it(harbour: Harbour) -> None:
    has_carried(harbour)
    usurp(harbour, 2)
    status(harbour, 1, epoch=2, session=SECOND)
    manifest(harbour, SECOND)
    left_over = claims(harbour)
    assert left_over.pursue() is Standing.SUPERSEDED
    assert left_over.pursue(insist=True) is Standing.OWNED
    assert epoch_of(left_over) == 3


def test_a_new_run_follows_one_that_has_finished(harbour: Harbour) -> None:
    usurp(harbour, 2)
    status(harbour, 1, epoch=2, session=SECOND)
    manifest(harbour, SECOND)
    assert claims(harbour).pursue() is Standing.OWNED


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "epo', b'{"version": 2, "who": "knows"}', b"\xff\xfe"])
@pytest.mark.guarantee("every-wait-ends", fault="the claim in the bucket is half a document, or a later version's")
def test_a_claim_that_nobody_understands_is_respected_while_its_owner_writes_and_followed_when_not(
    harbour: Harbour, content: bytes
) -> None:
    harbour.storage._store(f"{PREFIX}/claims/3.json", content, {})
    claim = claims(harbour)
    for number in range(200):
        harbour.storage._store(f"{PREFIX}/status.json", b'{"version": 2, "count": %d}' % (number // 20), {})
        assert claim.pursue() is not Standing.OWNED
        harbour.clock.advance(1)
    assert seconds_until_owned(harbour, claim) <= SILENCE_SECONDS
    assert epoch_of(claim) == 4


def test_claims_that_were_deleted_by_hand_are_made_again_beyond_every_ledger(harbour: Harbour) -> None:
    claim = claims(harbour)
    claim.pursue()
    has_carried(harbour)
    harbour.storage.objects.clear()
    with pytest.raises(ClaimLostError):
        claim.assure(now=True)
    assert claim.pursue() is Standing.OWNED
    assert (epoch_of(claim), claim.lost) == (2, False)


# Noticing that it is lost


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


def frozen(harbour: Harbour) -> None:
    harbour.clock.advance(LOOK_SECONDS)


def suspended(harbour: Harbour) -> None:
    # Its wall clock has not been set right yet.
    harbour.clock.suspend(LOOK_SECONDS)
    harbour.clock.wall -= LOOK_SECONDS


def suspended_from_outside(harbour: Harbour) -> None:
    harbour.clock.wall += LOOK_SECONDS


def clock_set_back(harbour: Harbour) -> None:
    harbour.clock.wall -= LOOK_SECONDS


@pytest.mark.parametrize("pause", [frozen, suspended, suspended_from_outside, clock_set_back])
@pytest.mark.guarantee(
    "one-writer", fault="the owner is frozen, or its machine suspended, until another has taken over"
)
def test_an_owner_that_wakes_up_looks_before_it_writes(harbour: Harbour, pause: Callable[[Harbour], None]) -> None:
    claim = claims(harbour)
    claim.pursue()
    usurp(harbour)
    claim.assure()
    pause(harbour)
    with pytest.raises(ClaimLostError):
        claim.assure()
    assert claim.lost
    with pytest.raises(ClaimLostError):
        claim.assure()


def test_an_owner_that_is_frozen_while_it_looks_does_not_trust_what_it_has_seen(harbour: Harbour) -> None:
    claim = claims(harbour)
    claim.pursue()
    read = harbour.storage.read

    def frozen_before_the_answer_is_read(bucket: str, key: str, limit: int = 0) -> bytes | None:
        content = read(bucket, key)
        harbour.clock.advance(1000)
        usurp(harbour)
        return content

    harbour.storage.read = frozen_before_the_answer_is_read  # type: ignore[method-assign]  # a long answer
    claim.assure(now=True)
    with pytest.raises(ClaimLostError):
        claim.assure()
