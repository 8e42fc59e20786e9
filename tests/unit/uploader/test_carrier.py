from __future__ import annotations

import hashlib
import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Claim
from shared.contract.session import Ending, Outcome, Saved
from shared.errors import ErrorCode
from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, Harbour, hold_of, safetensors, write
from tests.unit.uploader.memory_storage import Thing
from uploader.lanes import Lane
from uploader.ledger import Ledger
from uploader.requests import leave
from uploader.silence import SILENCE_SECONDS
from uploader.spool import Spool
from uploader.stage import Stage
from uploader.voyage import WATCHED_QUIET_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT = "pictures/pictures_000000004.safetensors"


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def closed(berth: Berth) -> bool:
    return berth.carrier.stage is Stage.CLOSED


def open_berth(harbour: Harbour) -> Berth:
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    return berth


def test_a_session_is_carried_and_closed(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    output = berth.run.output
    write(output / "pictures/samples/1__000000004_0.png", b"a picture")
    write(output / CHECKPOINT, safetensors())
    write(output / "logs/training.log", "one\ntwo\nthr")
    berth.tick(8)
    assert harbour.content("samples/1__000000004_0.png") == b"a picture"
    assert harbour.content("logs/training.log") == b"one\ntwo\n"
    assert harbour.manifest() is None
    harbour.drained()
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert manifest.complete
    assert [entry.path for entry in manifest.files] == [
        CHECKPOINT,
        "logs/training.log",
        "pictures/samples/1__000000004_0.png",
    ]
    assert harbour.content("logs/training.log") == b"one\ntwo\nthr"
    receipt = berth.carrier.upload.receipt
    assert receipt is not None
    assert (receipt.token, receipt.complete) == ("drain-1", True)
    assert receipt.checkpoints == ("run/pictures/checkpoints/pictures_000000004.safetensors",)


def test_a_drain_waits_for_what_is_under_way(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    berth.executors[Lane.SMALL].held = True
    write(berth.run.output / "a.txt", "a")
    harbour.drained()
    berth.tick(5)
    assert berth.carrier.upload.in_flight == ("a.txt",)
    assert berth.carrier.upload.receipt is None
    berth.executors[Lane.SMALL].held = False
    berth.executors[Lane.SMALL].release()
    berth.until(lambda: closed(berth))


def test_a_drain_waits_for_the_trainer_to_be_gone(harbour: Harbour) -> None:
    from shared.contract.process import identify

    harbour.session(trainer=identify())
    berth = open_berth(harbour)
    harbour.drained()
    berth.tick(30)
    assert berth.carrier.upload.receipt is None
    harbour.session(trainer=None)
    berth.until(lambda: closed(berth))


def test_what_storage_refuses_is_missing_and_holds_up_nothing_and_can_be_tried_again(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.TOO_LARGE, key="bad.txt")
    write(berth.run.output / "bad.txt", "bad")
    write(berth.run.output / "good.txt", "good")
    harbour.drained()
    berth.until(lambda: closed(berth))
    manifest, receipt = harbour.manifest(), berth.carrier.upload.receipt
    assert manifest is not None
    assert receipt is not None
    assert not manifest.complete
    assert not receipt.complete
    assert [missing.path for missing in manifest.missing] == ["bad.txt"]
    assert "file size limit" in manifest.missing[0].reason
    assert [entry.path for entry in manifest.files] == ["good.txt"]

    leave(berth.run.requests, "retry")
    berth.until(lambda: harbour.content("outputs/bad.txt") == b"bad")
    berth.until(lambda: closed(berth))
    after = harbour.manifest()
    assert after is not None
    assert after.complete
    assert berth.carrier.upload.receipt is not None
    assert berth.carrier.upload.receipt.complete


def test_a_second_drain_request_is_answered_with_its_own_token(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.drained("first")
    berth.until(lambda: closed(berth))
    write(berth.run.output / "late.txt", "late")
    harbour.drained("second")
    berth.until(lambda: berth.carrier.upload.receipt is not None and berth.carrier.upload.receipt.token == "second")
    assert harbour.content("outputs/late.txt") == b"late"


def test_at_the_end_nothing_has_to_settle_any_more(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.drained()
    write(berth.run.output / CHECKPOINT, safetensors())
    started = harbour.clock.monotonic()
    berth.until(lambda: closed(berth))
    assert harbour.clock.monotonic() - started <= 5
    assert harbour.content("checkpoints/pictures_000000004.safetensors") == safetensors()


def test_a_checkpoint_that_nobody_saw_finished_is_published_as_torn_when_the_trainer_was_killed(
    harbour: Harbour,
) -> None:
    harbour.session(saved=(Saved(path=CHECKPOINT, step=4, at=harbour.clock.now()),))
    berth = open_berth(harbour)
    berth.executors[Lane.SMALL].held = True
    write(berth.run.output / CHECKPOINT, safetensors())
    write(berth.run.output / "pictures/pictures_000000008.safetensors", safetensors(b"1"))
    harbour.drained(outcome=Outcome.INTERRUPTED)
    berth.executors[Lane.SMALL].held = False
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert {(entry.key.removeprefix("run/pictures/"), entry.incomplete) for entry in manifest.files} == {
        ("checkpoints/pictures_000000004.safetensors", False),
        ("incomplete/pictures_000000008.safetensors", True),
    }


@pytest.mark.guarantee(
    "whole", fault="trainer and launcher are killed in the last state of the optimizer, after the last model"
)
def test_what_nobody_saw_finished_is_torn_although_the_training_counts_as_finished(harbour: Harbour) -> None:
    final = "pictures/pictures.safetensors"
    harbour.session(saved=(Saved(path=final, step=24, at=harbour.clock.now()),))
    berth = open_berth(harbour)
    write(berth.run.output / final, safetensors())
    write(berth.run.output / "pictures/optimizer.pt", b"half a st")
    harbour.drained()
    harbour.session(ending=Ending(outcome=Outcome.FINISHED, by_itself=False, at=harbour.clock.now()))
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert {(entry.path, entry.incomplete) for entry in manifest.files} == {
        (final, False),
        ("pictures/optimizer.pt", True),
    }


def test_a_torn_new_version_leaves_the_whole_old_one_where_it_is(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "pictures/pictures.safetensors"
    write(path, safetensors(b"first"))
    berth.until(lambda: harbour.content("checkpoints/pictures.safetensors") == safetensors(b"first"))
    write(path, safetensors(b"second")[:-3])
    harbour.drained(outcome=Outcome.FAILED)
    berth.until(lambda: closed(berth))
    assert harbour.content("checkpoints/pictures.safetensors") == safetensors(b"first")
    assert harbour.content("incomplete/pictures.safetensors") == safetensors(b"second")[:-3]


def test_a_checkpoint_that_does_not_add_up_is_torn_even_if_the_trainer_ended_well(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / CHECKPOINT, safetensors()[:-1])
    harbour.drained()
    berth.until(lambda: closed(berth))
    assert harbour.content("incomplete/pictures_000000004.safetensors") is not None
    assert harbour.content("checkpoints/pictures_000000004.safetensors") is None


def test_an_empty_journal_beside_a_database_does_not_hold_up_the_end(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / "pictures/loss_log.db", b"SQLite")
    write(berth.run.output / "pictures/loss_log.db-wal", b"")
    write(berth.run.output / "pictures/other.db-journal", b"")
    harbour.drained()
    berth.until(lambda: closed(berth), ticks=60)
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.path for entry in manifest.files] == ["pictures/loss_log.db"]


# What the bucket holds when a new version did not make it


def test_a_version_whose_answer_was_lost_and_whose_file_is_gone_is_listed_as_what_is_there(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "a.txt"
    write(path, "first")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"first")
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="a.txt", times=4, after=True)
    write(path, "second")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"second")
    path.unlink()
    harbour.drained()
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert [(entry.path, entry.sha256) for entry in manifest.files] == [
        ("a.txt", hashlib.sha256(b"second").hexdigest())
    ]
    assert manifest.missing == ()


def test_the_old_version_is_still_listed_when_the_new_one_was_refused(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "a.txt"
    write(path, "first")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"first")
    harbour.storage.fail("put", Trouble.WRONG_TYPE, key="a.txt")
    write(path, "second")
    harbour.drained()
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.size for entry in manifest.files] == [len("first")]
    assert [missing.path for missing in manifest.missing] == ["a.txt"]


def test_a_file_that_goes_back_to_what_it_was_is_not_taken_for_delivered_after_a_doubtful_sending(
    harbour: Harbour,
) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "a.txt"
    write(path, "first")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"first")
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="a.txt", times=4, after=True)
    write(path, "second")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"second")
    write(path, "first")
    harbour.drained()
    berth.until(lambda: closed(berth))
    assert harbour.content("outputs/a.txt") == b"first"


def test_two_files_that_meet_at_one_key_both_arrive_even_if_the_first_is_refused(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.TOO_LARGE, key="outputs/a.txt")
    write(berth.run.output / "outputs/a.txt", "one")
    write(berth.run.output / "a.txt", "two")
    harbour.drained()
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert {entry.path for entry in manifest.files} | {missing.path for missing in manifest.missing} == {
        "a.txt",
        "outputs/a.txt",
    }
    assert len(manifest.files) == 1


# Checkpoints that the trainer deletes


def test_a_checkpoint_that_is_deleted_while_storage_is_away_still_arrives(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints/", times=4)
    write(berth.run.output / CHECKPOINT, safetensors())
    berth.until(lambda: harbour.storage.count("put", "checkpoints/") >= 4)
    (berth.run.output / CHECKPOINT).unlink()
    harbour.drained()
    berth.until(lambda: closed(berth))
    assert harbour.content("checkpoints/pictures_000000004.safetensors") == safetensors()
    assert list(berth.run.spool.iterdir()) == []


def test_a_deleted_checkpoint_outlives_the_uploader_in_the_spool(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints/", times=1000)
    write(berth.run.output / CHECKPOINT, safetensors())
    berth.until(lambda: harbour.storage.count("put", "checkpoints/") >= 4)
    (berth.run.output / CHECKPOINT).unlink()
    berth.until(lambda: berth.run.spool.is_dir() and any(berth.run.spool.glob("*.kept")))
    berth.tick(2)
    berth.die()
    harbour.storage.faults.clear()
    again = Berth(harbour, berth.run)
    harbour.drained()
    again.until(lambda: closed(again))
    assert harbour.content("checkpoints/pictures_000000004.safetensors") == safetensors()
    assert list(berth.run.spool.iterdir()) == []


def test_the_spool_is_never_larger_than_it_may_be(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path, spool_bytes=10)
    berth = open_berth(harbour)
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints/", times=5)
    write(berth.run.output / CHECKPOINT, safetensors())
    berth.until(lambda: harbour.storage.count("put", "checkpoints/") >= 4)
    (berth.run.output / CHECKPOINT).unlink()
    berth.tick(3)
    assert not berth.run.spool.exists() or not list(berth.run.spool.iterdir())
    # What is held open takes up the disk as well, so beyond the limit it is given up, and named.
    [failure] = berth.carrier.upload.failures
    assert failure.path == CHECKPOINT


def says_saved(harbour: Harbour) -> None:
    harbour.session(saved=(Saved(path="pictures/optimizer.pt", step=4, at=harbour.clock.now()),))


@pytest.mark.guarantee("whole", fault="an error in the middle of a save closes the optimizer's state half-written")
@pytest.mark.parametrize("outcome", [Outcome.FINISHED, Outcome.FAILED])
def test_an_optimizers_state_that_is_closed_is_whole_only_by_the_trainers_word(
    harbour: Harbour, outcome: Outcome
) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / "pictures/optimizer.pt", b"sta")
    berth.tick(30)
    assert harbour.storage.count("put", "optimizer.pt") == 0
    harbour.drained(outcome=outcome)
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert [entry.incomplete for entry in manifest.files] == [outcome is Outcome.FAILED]


def test_the_optimizers_state_goes_as_a_copy_and_leaves_no_copies_behind(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    path = berth.run.output / "pictures/optimizer.pt"
    harbour.storage.fail("put", Trouble.UNREACHABLE, key="optimizer.pt", times=8)
    for content in ("first", "second!", "third!!"):
        write(path, content)
        says_saved(harbour)
        berth.tick(8)
    berth.until(lambda: harbour.content("checkpoints/optimizer.pt") == b"third!!")
    berth.tick(2)
    assert list(berth.run.spool.iterdir()) == []


def test_a_wish_is_taken_away_only_when_it_has_been_granted(harbour: Harbour, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_ledger: Ledger) -> int:
        raise InterruptedError

    berth = open_berth(harbour)
    leave(berth.run.requests, "retry")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "revive", interrupted)
        with pytest.raises(InterruptedError):
            berth.tick()
    assert list(berth.run.requests.iterdir())
    berth.tick()
    assert not list(berth.run.requests.iterdir())


def test_a_copy_of_the_optimizers_state_that_was_delivered_just_before_a_kill_is_removed(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "discard", lambda _self, _row: None)
        write(berth.run.output / "pictures/optimizer.pt", b"state")
        says_saved(harbour)
        berth.until(lambda: harbour.content("checkpoints/optimizer.pt") == b"state")
        berth.tick(2)
    berth.die()
    assert list(berth.run.spool.iterdir())
    again = open_berth(harbour)
    again.tick(2)
    assert list(again.run.spool.iterdir()) == []


def test_the_step_that_the_trainer_names_after_the_file_has_settled_is_still_noted(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    berth.executors[Lane.LARGE].held = True
    write(berth.run.output / "pictures/optimizer.pt", b"state")
    berth.tick(5)
    harbour.session(saved=(Saved(path="pictures/optimizer.pt", step=4, at=harbour.clock.now()),))
    write(berth.run.output / "pictures/pictures.pt", b"weights")
    berth.executors[Lane.SMALL].held = True
    berth.tick(5)
    for lane in (Lane.SMALL, Lane.LARGE):
        berth.executors[lane].held = False
        berth.executors[lane].release()
    harbour.session(saved=(Saved(path="pictures/optimizer.pt", step=8, at=harbour.clock.now()),))
    write(berth.run.output / "pictures/optimizer.pt", b"newer state")
    harbour.drained()
    berth.until(lambda: closed(berth))
    thing = harbour.storage.objects["run/pictures/checkpoints/optimizer.pt"]
    assert (thing.content, thing.metadata["step"]) == (b"newer state", "8")


# Watched folders


def watched(harbour: Harbour, *, hurry: bool = False) -> Berth:
    return Berth(harbour, harbour.watched_run(), hurry=hurry)


def test_a_watched_run_gets_its_manifest_when_it_has_been_quiet_and_loses_it_before_it_changes(
    harbour: Harbour,
) -> None:
    berth = watched(harbour)
    write(berth.run.output / "samples/a.png", "first")
    berth.until(lambda: harbour.content("samples/a.png") == b"first")
    berth.tick(int(WATCHED_QUIET_SECONDS) - 10)
    assert harbour.manifest() is None
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert (manifest.outcome, manifest.complete) == (Outcome.UNKNOWN, True)

    write(berth.run.output / "samples/a.png", "second")
    berth.until(lambda: harbour.content("samples/a.png") == b"second")
    assert harbour.manifest() is None
    berth.until(lambda: closed(berth))
    harbour.check_manifest()


def test_a_watched_run_whose_uploader_is_restarted_still_withdraws_its_manifest(harbour: Harbour) -> None:
    berth = watched(harbour, hurry=True)
    write(berth.run.output / "samples/a.png", "first")
    berth.until(lambda: closed(berth))
    berth.die()
    write(berth.run.output / "samples/a.png", "second")
    again = watched(harbour, hurry=True)
    again.until(lambda: closed(again))
    assert harbour.content("samples/a.png") == b"second"


def test_a_lost_ledger_does_not_make_the_manifest_in_the_bucket_forgotten(harbour: Harbour) -> None:
    berth = watched(harbour, hurry=True)
    write(berth.run.output / "samples/a.png", "first")
    berth.until(lambda: closed(berth))
    berth.die()
    berth.run.ledger(1).unlink()
    write(berth.run.output / "samples/a.png", "other")
    again = watched(harbour, hurry=True)
    again.until(lambda: closed(again))
    assert harbour.content("samples/a.png") == b"other"


def test_a_large_log_that_grows_keeps_a_watched_run_open(harbour: Harbour) -> None:
    berth = watched(harbour)
    log = berth.run.output / "train.log"
    write(log, b"x" * (8 << 20) + b"\n")
    for _ in range(130):
        with log.open("ab") as file:
            file.write(b"more\n")
        berth.tick()
    assert harbour.manifest() is None
    berth.until(lambda: closed(berth))
    assert harbour.content("logs/train.log") == log.read_bytes()


def test_one_pass_takes_a_log_to_its_last_byte(harbour: Harbour) -> None:
    berth = watched(harbour, hurry=True)
    write(berth.run.output / "train.log", "whole\nhalf a li")
    berth.until(lambda: closed(berth))
    assert harbour.content("logs/train.log") == b"whole\nhalf a li"


def test_a_database_that_a_killed_trainer_left_does_not_hold_up_one_pass(harbour: Harbour) -> None:
    berth = watched(harbour, hurry=True)
    write(berth.run.output / "loss_log.db", b"SQLite", age=3600)
    write(berth.run.output / "loss_log.db-wal", b"pages", age=3600)
    berth.until(lambda: closed(berth), ticks=30)
    assert harbour.content("logs/loss_log.db-wal") == b"pages"


def test_a_watched_run_is_at_rest_without_its_manifest_unless_there_is_a_hurry(harbour: Harbour) -> None:
    berth = watched(harbour)
    write(berth.run.output / "a.txt", "a")
    berth.until(lambda: harbour.content("outputs/a.txt") == b"a")
    berth.tick(2)
    assert berth.carrier.at_rest
    assert harbour.manifest() is None


def test_a_folder_whose_name_is_no_unicode_is_carried_like_any_other(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path)
    run = harbour.watched_run(os.fsdecode(b"caf\xe9"))
    berth = Berth(harbour, run, hurry=True)
    write(run.output / os.fsdecode(b"\xff.txt"), "a")
    berth.until(lambda: closed(berth))
    assert harbour.storage.objects["run/caf=E9/outputs/=FF.txt"].content == b"a"
    manifest = harbour.manifest("run/caf=E9")
    assert manifest is not None
    assert manifest.files[0].path == "\\xff.txt"


# Strange things in the tree


def test_links_and_pipes_are_missing_and_trying_again_does_not_hold_up_anything(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    (berth.run.output / "link.txt").symlink_to("/etc/passwd")
    os.mkfifo(berth.run.output / "pipe.txt")
    write(berth.run.output / "good.txt", "good")
    harbour.drained()
    berth.until(lambda: closed(berth))
    leave(berth.run.requests, "retry")
    berth.tick()
    berth.until(lambda: closed(berth), ticks=40)
    manifest = harbour.manifest()
    assert manifest is not None
    assert {missing.path for missing in manifest.missing} == {"link.txt", "pipe.txt"}
    assert [entry.path for entry in manifest.files] == ["good.txt"]


def test_a_folder_that_cannot_be_read_is_missing_and_the_rest_arrives(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    write(berth.run.output / "closed/a.txt", "a")
    write(berth.run.output / "b.txt", "b")
    shut, scandir = berth.run.output / "closed", os.scandir

    def denied(path: Path) -> object:
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    berth.until(lambda: harbour.content("outputs/b.txt") == b"b")
    assert [failure.path for failure in berth.carrier.upload.failures] == ["closed"]
    monkeypatch.undo()
    berth.until(lambda: harbour.content("outputs/closed/a.txt") == b"a")
    berth.tick(3)
    assert berth.carrier.upload.failures == ()


# Trouble with the disk, the ledger and the claim


def test_a_ledger_that_fails_is_begun_again_from_what_is_durable(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth = open_berth(harbour)
    ledger = hold_of(berth).ledger

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ledger, "delivered", full)
    write(berth.run.output / "a.txt", "a")
    with pytest.raises(sqlite3.OperationalError):
        berth.tick(10)
    berth.carrier.stumble(sqlite3.OperationalError("database or disk is full"))
    berth.until(lambda: harbour.content("outputs/a.txt") == b"a")


def test_after_a_stumble_nothing_new_is_sent_while_something_old_is_still_under_way(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    berth.executors[Lane.SMALL].held = True
    write(berth.run.output / "a.txt", "a")
    berth.tick(5)
    berth.carrier.stumble(sqlite3.OperationalError("disk I/O error"))
    berth.tick(20)
    assert berth.carrier.stage is Stage.CLAIMING
    berth.executors[Lane.SMALL].held = False
    berth.executors[Lane.SMALL].release()
    assert harbour.content("outputs/a.txt") is None
    berth.until(lambda: harbour.content("outputs/a.txt") == b"a")


@pytest.mark.guarantee("one-writer", fault="another run takes the prefix over in mid-training")
def test_whoever_has_lost_the_claim_stops_at_once(harbour: Harbour) -> None:
    berth = open_berth(harbour)
    claim = Claim(epoch=2, token="t", session_id="training_session_2", worker="worker-2", at=0.0)
    harbour.storage._store("run/pictures/claims/2.json", claim.dump(), {})
    harbour.clock.advance(20)
    sent = harbour.storage.count("put", "outputs/")
    write(berth.run.output / "a.txt", "a")
    berth.tick(6)
    assert berth.carrier.stage is Stage.LEFT
    assert harbour.storage.count("put", "outputs/") == sent
    again = Berth(harbour, berth.run)
    again.tick(3)
    assert again.carrier.stage is Stage.REFUSED
    assert again.carrier.upload.refused is ErrorCode.PREFIX_IN_USE


@pytest.mark.parametrize("call", ["folder", "read", "walk", "put", "move", "info"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("skip", range(3))
def test_any_call_may_fail_on_the_way(tmp_path: Path, call: str, skip: int, *, after: bool) -> None:
    """Storage's trouble in any step of claim, preparation, delivery, status and manifest delays and changes nothing."""
    harbour = Harbour(tmp_path)
    for _ in range(skip):
        harbour.storage.fail(call, Trouble.UNREACHABLE, times=0)
    harbour.storage.fail(call, Trouble.UNREACHABLE, times=2 + 4 * skip, after=after)
    run = harbour.session_run()
    write(run.output / "a.txt", "a")
    harbour.drained()
    berth = Berth(harbour, run)
    berth.until(lambda: closed(berth))
    assert harbour.content("outputs/a.txt") == b"a"
    harbour.check_manifest()


@pytest.mark.guarantee("nothing-lost", fault="the owner of a prefix is gone, and every look at its claim fails once")
def test_on_a_bad_line_a_dead_owner_is_followed_as_soon_as_on_a_good_one(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path)
    claim = Claim(epoch=1, token="theirs", session_id="another", worker="w", at=1.0)
    harbour.storage.objects["run/pictures/claims/1.json"] = Thing(claim.dump(), "v1", {})
    berth = Berth(harbour, harbour.session_run())
    began = harbour.clock.monotonic()
    while berth.carrier.stage is Stage.CLAIMING:
        assert harbour.clock.monotonic() < began + 1.2 * SILENCE_SECONDS
        harbour.storage.faults.clear()
        harbour.storage.fail("read", Trouble.UNREACHABLE)
        berth.probe()
        berth.tick()


# Sessions of others


def test_the_session_of_a_dead_worker_is_closed_as_interrupted(harbour: Harbour) -> None:
    folder = harbour.session(worker="worker-2")
    write(folder.output / "pictures/pictures_000000004.safetensors", safetensors())
    write(folder.output / "pictures/samples/a.png", "a")
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: closed(berth))
    manifest = harbour.manifest()
    assert manifest is not None
    assert manifest.outcome is Outcome.INTERRUPTED
    assert [entry.key for entry in manifest.files] == [
        "run/pictures/incomplete/pictures_000000004.safetensors",
        "run/pictures/samples/a.png",
    ]
    assert berth.carrier.over


def test_what_another_run_wrote_over_the_prefix_in_between_is_not_listed_as_ours(harbour: Harbour) -> None:
    harbour.storage.fail("put", Trouble.TOO_LARGE, key="bad.txt")
    first = open_berth(harbour)
    write(first.run.output / "a.txt", "mine")
    write(first.run.output / "bad.txt", "bad")
    harbour.drained()
    first.until(lambda: closed(first))
    first.die()
    other = harbour.session("training_session_2", created_at=harbour.clock.now())
    write(other.output / "a.txt", "theirs")
    from uploader.run import session_run

    run = session_run(other)
    assert run is not None
    second = Berth(harbour, run)
    now = harbour.clock.now()
    from shared.contract.session import DrainRequest

    ending = Ending(outcome=Outcome.FINISHED, by_itself=True, at=now)
    harbour.session("training_session_2", ending=ending, drain=DrainRequest(token="two", at=now))
    second.until(lambda: closed(second))
    assert harbour.content("outputs/a.txt") == b"theirs"
    second.die()

    leave(first.run.requests, "retry")
    third = Berth(harbour, first.run)
    third.until(lambda: closed(third))
    harbour.check_manifest()
    manifest = harbour.manifest()
    assert manifest is not None
    assert {entry.path for entry in manifest.files} == {"a.txt", "bad.txt"}
    assert harbour.content("outputs/a.txt") == b"mine"
