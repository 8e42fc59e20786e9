"""A disk that is nearly full: what is in the bucket is deleted first, people are told, and the ledger survives."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Status
from shared.contract.session import DrainRequest, Ending, Outcome, Phase, Session
from shared.contract.upload import DrainReceipt, Upload
from shared.errors import ErrorCode
from shared.storage.errors import Trouble
from tests.unit.uploader.bridge import Bridge
from tests.unit.uploader.harbour import WORKER, Harbour, safetensors, swift_folder, write
from tests.unit.uploader.memory_storage import BUCKET
from uploader.disk import LOW_BYTES, Space, says_full
from uploader.fullness import REFUSED_SECONDS
from uploader.keeper import LAST_RESORT_SECONDS
from uploader.run import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.layout import SessionFolder

PLENTY, TIGHT = Space(free=1 << 40, total=1 << 40), Space(free=LOW_BYTES - 1, total=1 << 40)
STEPS = (100, 200, 300, 400)


class Berth:
    """A worker with a live session that has saved some checkpoints, and sessions of before."""

    def __init__(self, folder: Path) -> None:
        self.harbour = Harbour(folder)
        self.bridge = Bridge(self.harbour)
        self.session = self.harbour.session("training_session_9", phase=Phase.TRAINING)
        self.output = self.session.output / "pictures"

    def save(self, *steps: int) -> None:
        for step in steps:
            write(self.checkpoint(step), safetensors(bytes(64 + step)), age=1000 - step)
        write(self.output / "optimizer.pt", "moments", age=500)
        # As quiet as the middle of a training is.
        os.utime(self.output, (1, 1))

    def checkpoint(self, step: int) -> Path:
        return self.output / f"pictures_{step:09d}.safetensors"

    @property
    def steps(self) -> list[int]:
        return [step for step in STEPS if self.checkpoint(step).exists()]

    @property
    def upload(self) -> Upload:
        return Upload.read(self.session.upload_file) or Upload(worker="nobody")

    def earlier(self, number: int, **changes: object) -> SessionFolder:
        """Make a session that is over and delivered."""
        name = f"training_session_{number}"
        over = {"phase": Phase.CLOSED, "drain": DrainRequest(token=name, at=0.0)}
        made = self.harbour.session(name, **{**over, **changes})
        Upload(worker=WORKER, receipt=DrainReceipt(token=name, complete=True)).write(made.upload_file)
        return made

    def drain(self) -> None:
        now = self.harbour.clock.now()
        ending = Ending(outcome=Outcome.FINISHED, by_itself=True, at=now)
        drain = DrainRequest(token="end", at=now)
        self.harbour.session(self.session.session_id, phase=Phase.DRAINING, ending=ending, drain=drain)
        self.bridge.until(lambda: self.upload.receipt is not None and self.upload.receipt.token == "end")


@pytest.fixture
def berth() -> Iterator[Berth]:
    with swift_folder() as folder:
        yield Berth(folder)


@pytest.mark.guarantee("undisturbed", fault="the disk becomes nearly full")
def test_delivered_sessions_go_before_checkpoints_and_as_few_as_it_takes(
    berth: Berth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    older, newer = berth.earlier(1), berth.earlier(2)
    berth.save(*STEPS)
    berth.bridge.tick(30)
    assert (older.path.exists(), newer.path.exists()) == (True, True)
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: not older.path.exists())
    berth.harbour.space = PLENTY
    berth.bridge.tick(30)
    assert (newer.path.exists(), berth.steps) == (True, [*STEPS])
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: not newer.path.exists() and berth.steps == [300, 400])
    berth.bridge.tick(60)
    assert berth.steps == [300, 400]
    assert (berth.output / "optimizer.pt").exists()
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert (told.count("disk_nearly_full"), told.count("disk_has_room")) == (1, 0)
    berth.harbour.space = PLENTY
    berth.bridge.tick(70, 10)
    told = [record.getMessage().split()[0] for record in caplog.records]
    assert (told.count("disk_nearly_full"), told.count("disk_has_room")) == (1, 1)


def test_sessions_are_deleted_one_at_a_time_while_the_daemon_goes_on(
    berth: Berth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = [berth.earlier(number) for number in (1, 2, 3)]
    berth.bridge.tick(10)
    office = berth.harbour.executors["office"]
    office.held = True
    berth.harbour.space = TIGHT
    berth.bridge.tick(10)
    assert all(each.path.exists() for each in made)
    office.release()
    office.held = False
    assert [each.path.exists() for each in made] == [False, True, True]
    berth.bridge.tick(20)
    assert [each.path.exists() for each in made] == [False, False, False]
    assert caplog.text.count("session_deleted") == 3


def test_a_session_that_cannot_be_deleted_does_not_keep_the_others(
    berth: Berth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = berth.earlier(1), berth.earlier(2)
    (berth.harbour.root / f".deleted.{stuck.session_id}").write_text("somebody's")
    berth.harbour.space = TIGHT
    berth.bridge.tick(40)
    assert (stuck.path.exists(), other.path.exists()) == (True, False)
    assert caplog.text.count("session_not_deleted") == 1


def test_what_was_deleted_is_in_the_bucket_in_the_manifest_and_told(berth: Berth) -> None:
    berth.save(*STEPS)
    berth.bridge.tick(10)
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: berth.steps == [300, 400])
    berth.bridge.tick(20)
    assert any("nearly full" in warning and "nothing" in warning for warning in berth.upload.warnings)
    berth.harbour.space = PLENTY
    berth.bridge.tick(20)
    assert [warning for warning in berth.upload.warnings if "nearly full" in warning] == [
        "The disk was nearly full, so the checkpoints of 2 steps were deleted there; they are in the bucket."
    ]
    thing = berth.harbour.storage.objects["run/pictures/status.json"]
    status = Status.parse(thing.content)
    assert status is not None
    assert set(status.warnings) <= {*berth.upload.warnings}
    berth.drain()
    manifest = berth.harbour.manifest()
    assert manifest is not None
    assert manifest.complete
    listed = {entry.path for entry in manifest.files}
    assert {f"pictures/pictures_{step:09d}.safetensors" for step in STEPS} <= listed


@pytest.mark.guarantee("nothing-lost", fault="the disk is full and Storage is away")
def test_nothing_goes_that_has_not_been_delivered(berth: Berth) -> None:
    berth.earlier(1, drain=None)
    berth.harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints", times=10**6)
    berth.save(*STEPS)
    berth.harbour.space = TIGHT
    berth.bridge.tick(60)
    assert berth.steps == [*STEPS]
    assert (berth.harbour.root / "training_session_1").exists()
    assert any("nothing that is in the bucket is left to delete" in warning for warning in berth.upload.warnings)


def test_a_copy_goes_whose_original_is_still_there_and_the_original_stays(berth: Berth) -> None:
    berth.harbour.storage.fail("put", Trouble.UNREACHABLE, key="checkpoints", times=10**6)
    berth.save(100, 200)
    spool = berth.session.spool
    berth.bridge.until(lambda: any(spool.glob("*.kept")))
    berth.harbour.space = TIGHT
    # Long before anything is given up.
    berth.bridge.tick(int(LAST_RESORT_SECONDS / 3))
    assert not any(spool.glob("*.kept"))
    assert berth.steps == [100, 200]
    berth.harbour.space = PLENTY
    berth.harbour.storage.faults.clear()
    berth.drain()
    assert berth.upload.uploaded.files == 3


@pytest.mark.guarantee("undisturbed", fault="the disk is full while the trainer saves and deletes old checkpoints")
def test_while_the_trainer_saves_nothing_is_deleted_under_its_hands(berth: Berth) -> None:
    berth.save(*STEPS)
    berth.bridge.tick(10)
    berth.harbour.session(berth.session.session_id, phase=Phase.SAVING)
    berth.harbour.space = TIGHT
    berth.bridge.tick(30)
    assert berth.steps == [*STEPS]
    berth.harbour.session(berth.session.session_id, phase=Phase.TRAINING)
    now = berth.harbour.clock.now()
    os.utime(berth.output, (now, now))
    berth.bridge.tick(2)
    assert berth.steps == [*STEPS]
    berth.bridge.until(lambda: berth.steps == [300, 400])


def test_a_watched_folder_is_left_as_it_is(berth: Berth) -> None:
    watched = berth.harbour.root / "watched"
    files = [watched / f"pictures/pictures_{step:09d}.safetensors" for step in STEPS]
    for file in files:
        write(file, safetensors(), age=100)
    bridge = Bridge(berth.harbour, Watch(watched, BUCKET, "mine"))
    berth.harbour.space = TIGHT
    bridge.tick(60)
    assert berth.harbour.storage.objects.keys() >= {"mine/pictures/checkpoints/pictures_000000100.safetensors"}
    assert all(file.exists() for file in files)


@pytest.mark.guarantee("resumed-training", fault="the disk is full and checkpoints are folders")
def test_a_checkpoint_that_is_a_folder_goes_as_a_whole_or_not_at_all(berth: Berth) -> None:
    folders = [berth.output / f"pictures_{step:09d}" for step in STEPS]
    for folder in folders:
        write(folder / "transformer/weights.safetensors", safetensors(folder.name.encode()), age=100)
        write(folder / "aitk_meta.yaml", "step: 1", age=100)
    os.utime(berth.output, (1, 1))
    berth.bridge.tick(20)
    # Somebody has put something there that nobody has delivered.
    write(folders[1] / ".notes", "mine")
    os.utime(berth.output, (1, 1))
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: not folders[0].exists())
    berth.bridge.tick(40)
    assert [folder.exists() for folder in folders] == [False, True, True, True]
    assert len(list(folders[1].rglob("*"))) == 4
    assert [path for path in berth.output.iterdir() if path.name.startswith(".")] == []


def test_a_deletion_that_was_cut_off_is_finished(berth: Berth) -> None:
    berth.save(100)
    berth.bridge.tick(10)
    write(berth.output / ".deleted.pictures_000000050/weights.safetensors", "half")
    os.utime(berth.output, (1, 1))
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: not (berth.output / ".deleted.pictures_000000050").exists())


def test_a_file_that_is_another_version_by_now_stays(berth: Berth) -> None:
    berth.save(*STEPS)
    berth.bridge.tick(10)
    berth.harbour.storage.fail("put", Trouble.UNREACHABLE, times=10**6)
    write(berth.checkpoint(100), safetensors(b"another"))
    os.utime(berth.output, (1, 1))
    berth.harbour.space = TIGHT
    berth.bridge.tick(40)
    assert berth.steps == [100, 300, 400]


def test_what_a_copy_that_was_cut_off_left_goes_first(berth: Berth) -> None:
    berth.save(*STEPS)
    berth.bridge.tick(10)
    left, fresh = berth.session.spool / ".1-2.kept.abc", berth.session.spool / ".3-4.kept.abc"
    write(left, "half", age=3600)
    write(fresh, "half")
    now = berth.harbour.clock.now()
    os.utime(fresh, (now, now))
    berth.harbour.space = TIGHT
    berth.bridge.until(lambda: not left.exists())
    assert fresh.exists()


@pytest.mark.guarantee("told", fault="a volume's quota is used up, which no number shows")
@pytest.mark.parametrize("how", ["a refused write", "the trainer's word", "the handler's verdict"])
def test_a_refusal_counts_where_the_numbers_show_nothing(
    berth: Berth, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    older, newer = berth.earlier(1), berth.earlier(2)
    write(older.output / "large.bin", bytes(100_000))
    berth.save(*STEPS)
    berth.bridge.tick(30)
    assert older.path.exists()
    if how == "a refused write":
        with full_disk(monkeypatch, errno.EDQUOT):
            berth.bridge.tick(10)
    elif how == "the trainer's word":
        berth.harbour.session(berth.session.session_id, log_tail=("OSError: [Errno 122] Disk quota exceeded",))
    else:
        ending = Ending(outcome=Outcome.FAILED, by_itself=True, error_code=ErrorCode.DISK_FULL, at=0.0)
        berth.harbour.session(berth.session.session_id, ending=ending)
    berth.bridge.until(lambda: not older.path.exists() and not newer.path.exists())
    berth.bridge.tick(30)
    assert any("refused a write" in warning for warning in berth.upload.warnings)
    # Where the uploader itself was refused, the sessions may have been enough for its ledger.
    assert how == "a refused write" or berth.steps == [300, 400]
    berth.bridge.tick(70, REFUSED_SECONDS / 60)
    assert not any("refused a write" in warning for warning in berth.upload.warnings)


@pytest.mark.guarantee("nothing-lost", fault="the disk is full to the last byte")
def test_the_ledger_survives_a_full_disk_and_the_run_goes_on_as_soon_as_there_is_room(
    berth: Berth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    berth.save(100, 200)
    berth.bridge.tick(10)
    with full_disk(monkeypatch):
        for number in range(200):
            (berth.output / f"{number}.txt").write_text("x")
        berth.bridge.tick(120)
        assert "run_interrupted" in caplog.text
        # A line or two about each thing that does not work, not one a second.
        assert len(caplog.records) < 15
    berth.drain()
    assert berth.upload.uploaded.files == 203
    assert "ledger_set_aside" not in caplog.text
    assert berth.harbour.storage.received["run/pictures/checkpoints/pictures_000000100.safetensors"] == len(
        berth.checkpoint(100).read_bytes()
    )


@pytest.mark.guarantee("nothing-lost", fault="the ledger itself finds no room for its next word")
def test_a_ledger_without_room_has_delivered_checkpoints_deleted_before_it_gives_up(
    berth: Berth, monkeypatch: pytest.MonkeyPatch
) -> None:
    berth.save(*STEPS)
    berth.bridge.tick(10)
    with full_disk(monkeypatch):
        for number in range(200):
            (berth.output / f"{number}.txt").write_text("x")
        # As after a save: nothing is deleted just now, but the ledger is not closed before it could be.
        now = berth.harbour.clock.now()
        os.utime(berth.output, (now, now))
        berth.bridge.tick(3)
        assert berth.steps == [*STEPS]
        berth.bridge.until(lambda: berth.steps == [300, 400])
    berth.drain()
    assert berth.upload.uploaded.files == 205


@contextmanager
def full_disk(patch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> Iterator[None]:
    """Refuse every write of the uploader's own: no new file gets a byte, and no ledger a page."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with patch.context() as full:
        full.setattr("shared.atomic.os.fdopen", refuse)
        full.setattr(shutil, "copyfile", refuse)
        full.setattr("uploader.ledger.Ledger._open", _no_page)
        full.setattr("uploader.ledger.Ledger._write", _no_page)
        yield


def _no_page(*_: object) -> int:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    finally:
        connection.close()
    raise AssertionError("SQLite found room")


def test_what_a_full_disk_says() -> None:
    with pytest.raises(sqlite3.Error) as caught:
        _no_page()
    assert says_full(caught.value)
    assert says_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert not says_full(OSError(errno.EIO, "Input/output error"))
    assert not says_full(sqlite3.DatabaseError("made by hand"))


def test_a_small_disk_is_nearly_full_later_than_a_large_one() -> None:
    assert Space(free=60 << 20, total=1 << 30).lacks(0) == 0
    assert Space(free=60 << 20, total=1 << 40).lacks(0) == LOW_BYTES - (60 << 20)
    assert Space(free=LOW_BYTES, total=1 << 40).lacks(5) == 5


def test_sessions_of_other_workers_and_open_ones_stay(berth: Berth) -> None:
    foreign, open_ = berth.earlier(1, worker="another"), berth.earlier(2)
    session = Session.read(open_.session_file)
    assert session is not None
    session.model_copy(update={"phase": Phase.DRAINING}).write(open_.session_file)
    berth.harbour.space = TIGHT
    berth.bridge.tick(40)
    assert foreign.path.exists()
    assert open_.path.exists()


def test_one_pass_by_hand_deletes_nothing(berth: Berth) -> None:
    older = berth.earlier(1)
    berth.harbour.space = TIGHT
    Bridge(berth.harbour, hurry=True).tick(30)
    assert older.path.exists()
