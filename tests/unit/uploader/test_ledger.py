from __future__ import annotations

import shutil
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.unit.uploader.harbour import Harbour
from uploader import opening
from uploader.kinds import Kind
from uploader.ledger import Ledger
from uploader.ledger_file import LedgerError
from uploader.opening import open_ledger
from uploader.rows import Settled, Stored
from uploader.scan import Version
from uploader.settle import Proof
from uploader.states import MOVES, IllegalMoveError, State, check

if TYPE_CHECKING:
    from pathlib import Path

    from uploader.rows import Row


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.1.sqlite3")


def settle(
    ledger: Ledger, path: str, *, size: int = 10, mtime_ns: int = 1, kind: Kind = Kind.OTHER, now: float = 1.0
) -> Row:
    ledger.settled(Settled(path, kind, f"k/{path}", Proof.CLOSED, Version(size, mtime_ns, 1)), now)
    row = ledger.file(path)
    assert row is not None
    return row


def stored(sha256: str = "s", size: int = 10) -> Stored:
    return Stored(sha256, size, 0.0, "v1", None, 2.0)


def test_a_version_on_its_way(ledger: Ledger) -> None:
    row = settle(ledger, "a")
    assert (row.state, row.stored) == (State.READY, None)
    assert ledger.start(row)
    ledger.hashed(row, "s")
    ledger.delivered(row, stored())
    after = ledger.file("a")
    assert after is not None
    assert (after.state, after.stored) == (State.DELIVERED, stored())
    assert [file.key for file in ledger.stored()] == ["k/a"]
    assert ledger.stored_total().files == 1
    assert not ledger.undelivered()


def test_a_version_that_settled_meanwhile_stays_to_be_sent(ledger: Ledger) -> None:
    old = settle(ledger, "a")
    ledger.start(old)
    settle(ledger, "a", mtime_ns=2)
    ledger.hashed(old, "old")
    ledger.upload_url(old, "old")
    ledger.delivered(old, stored())
    ledger.retry_later(old, 1, 5.0, "late")
    row = ledger.file("a")
    assert row is not None
    assert (row.state, row.sha256, row.upload_url, row.error) == (State.READY, None, None, None)


def test_what_was_under_way_when_the_process_ended_is_to_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "ledger.1.sqlite3"
    ledger = Ledger(path)
    row = settle(ledger, "a")
    ledger.start(row)
    ledger.upload_url(row, "url")
    ledger.close()
    again = Ledger(path).file("a")
    assert again is not None
    assert (again.state, again.upload_url) == (State.READY, "url")


def test_a_transaction_is_durable_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "ledger.1.sqlite3"
    ledger = Ledger(path)

    def interrupted() -> None:
        with ledger.transaction():
            settle(ledger, "a")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    ledger.close()
    assert Ledger(path).file("a") is None


def test_the_order_of_the_lanes(ledger: Ledger) -> None:
    for number, (name, kind, size) in enumerate(
        [
            ("a.log", Kind.LOG, 10),
            ("old.pt", Kind.CHECKPOINT, 1000),
            ("other.bin", Kind.OTHER, 1000),
            ("optimizer.pt", Kind.OPTIMIZER, 1000),
            ("new.pt", Kind.CHECKPOINT, 1000),
            ("b.png", Kind.SAMPLE, 10),
        ]
    ):
        settle(ledger, name, kind=kind, size=size, mtime_ns=number, now=float(number))
    assert [row.path for row in ledger.next_small(9.0, 100, 9)] == ["b.png", "a.log"]
    assert [row.path for row in ledger.next_large(9.0, 100, 9, newest_first=False)] == ["old.pt", "other.bin", "new.pt"]
    assert [row.path for row in ledger.next_large(9.0, 100, 9, newest_first=True)] == [
        "new.pt",
        "optimizer.pt",
        "other.bin",
        "old.pt",
    ]
    assert [row.path for row in ledger.next_optimizer(9.0)] == ["optimizer.pt"]
    assert [row.path for row in ledger.waiting_checkpoints(1)] == ["old.pt"]
    assert ledger.oldest_waiting_checkpoint() == 1.0


@pytest.mark.guarantee("whole", fault="the worker is gone before all of a checkpoint's folder has been sent")
def test_the_file_that_completes_a_folder_is_sent_after_all_others_of_it(ledger: Ledger) -> None:
    settle(ledger, "cats/cats_000000010/aitk_meta.yaml", kind=Kind.CHECKPOINT)
    weights = settle(ledger, "cats/cats_000000010/transformer/w.safetensors", kind=Kind.CHECKPOINT, size=1 << 30)
    settle(ledger, "cats/cats_000000010x/w.safetensors", kind=Kind.CHECKPOINT, size=1 << 30)

    def small() -> list[str]:
        return [row.path for row in ledger.next_small(2.0, 6_000_000, 9)]

    assert small() == []
    ledger.start(weights)
    assert small() == []
    ledger.delivered(weights, stored(size=1 << 30))
    assert small() == ["cats/cats_000000010/aitk_meta.yaml"]


def test_what_waits_for_its_next_attempt_is_passed_over(ledger: Ledger) -> None:
    row = settle(ledger, "a")
    ledger.start(row)
    ledger.retry_later(row, 1, 50.0, "busy")
    assert ledger.next_small(49.0, 100, 9) == []
    assert len(ledger.next_small(50.0, 100, 9)) == 1
    assert [troubled.error for troubled in ledger.troubled(9)] == ["busy"]
    ledger.hurry()
    assert len(ledger.next_small(1.0, 100, 9)) == 1


def test_a_doubt_hides_what_is_stored_until_it_is_decided(ledger: Ledger) -> None:
    row = settle(ledger, "a")
    ledger.start(row)
    ledger.delivered(row, stored())
    ledger.doubt("k/a")
    doubted = ledger.file("a")
    assert doubted is not None
    assert doubted.stored is None
    [file] = ledger.doubtful()
    assert file.key == "k/a"
    ledger.decide(file, there=True)
    assert not ledger.doubtful()
    ledger.doubt_everything()
    ledger.decide(file, there=False)
    lost = ledger.file("a")
    assert lost is not None
    assert (lost.state, list(ledger.stored())) == (State.READY, [])


def test_many_objects_are_told_a_page_at_a_time(ledger: Ledger) -> None:
    with ledger.transaction():
        for number in range(1203):
            row = settle(ledger, f"{number:05d}")
            ledger.start(row)
            ledger.delivered(row, stored())
    assert [file.path for file in ledger.stored()] == [f"{number:05d}" for number in range(1203)]


@pytest.mark.parametrize("content", [b"nonsense" * 100, b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_no_ledger_is_set_aside(tmp_path: Path, content: bytes) -> None:
    run = Harbour(tmp_path).session_run()
    run.ledger(3).write_bytes(content)
    run.ledger(3).with_name("ledger.3.sqlite3-journal").write_bytes(b"an old journal")
    with pytest.raises(LedgerError):
        Ledger(run.ledger(3))
    ledger = open_ledger(run, 3)
    assert ledger.totals()[State.READY].files == 0
    assert (run.state / "ledger.3.sqlite3.broken").read_bytes() == content


def test_a_damaged_page_is_noticed_when_the_ledger_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "ledger.1.sqlite3"
    ledger = Ledger(path)
    with ledger.transaction():
        for number in range(500):
            settle(ledger, f"{number:05d}")
    ledger.close()
    content = bytearray(path.read_bytes())
    content[4096 * 4 : 4096 * 5] = b"\xa5" * 4096
    path.write_bytes(content)
    with pytest.raises(LedgerError):
        Ledger(path)


def test_a_ledger_of_another_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.1.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="version 99"):
        Ledger(path)


def test_a_ledger_that_another_process_holds_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Harbour(tmp_path).session_run()
    first = open_ledger(run, 1)
    settle(first, "a")
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
    with pytest.raises(sqlite3.OperationalError):
        open_ledger(run, 1)
    assert run.ledger(1).exists()
    assert not list(run.state.glob("*.broken"))


def test_the_next_epoch_goes_on_with_a_copy_and_doubts_everything(tmp_path: Path) -> None:
    run = Harbour(tmp_path).session_run()
    first = open_ledger(run, 2)
    row = settle(first, "a")
    first.start(row)
    first.delivered(row, stored())
    first.close()
    second = open_ledger(run, 5)
    assert [file.key for file in second.doubtful()] == ["k/a"]
    assert run.epochs() == [2, 5]
    second.close()
    assert open_ledger(run, 5).file("a") is not None


@pytest.mark.guarantee("true-manifest", fault="an uploader is killed while it takes over another one's ledger")
def test_a_copy_has_its_name_only_when_everything_in_it_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_folder: Path) -> None:
        raise InterruptedError

    run = Harbour(tmp_path).session_run()
    first = open_ledger(run, 2)
    row = settle(first, "a")
    first.start(row)
    first.delivered(row, stored())
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr(opening, "sync_folder", interrupted)
        with pytest.raises(InterruptedError):
            open_ledger(run, 5)
    assert run.epochs() == [2, 5]
    assert [file.key for file in open_ledger(run, 5).doubtful()] == ["k/a"]


def test_a_transaction_that_the_old_owner_did_not_end_is_rolled_back_in_the_copy(tmp_path: Path) -> None:
    run = Harbour(tmp_path).session_run()
    first = open_ledger(run, 1)
    settle(first, "a")
    first._connection.execute("PRAGMA cache_size = 1")
    first._connection.execute("BEGIN IMMEDIATE")
    for number in range(3000):
        settle(first, f"never {number}")
    assert run.ledger(1).with_name("ledger.1.sqlite3-journal").stat().st_size > 0
    second = open_ledger(run, 2)
    assert second.file("a") is not None
    assert second.file("never 0") is None
    assert second.totals()[State.READY].files == 1


def test_a_copy_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    run = Harbour(tmp_path).session_run()
    first = open_ledger(run, 1)
    settle(first, "a")
    first.close()
    shutil.copyfile(run.ledger(1), run.state / ".ledger.2.sqlite3")
    (run.state / ".ledger.2.sqlite3").write_bytes(b"half")
    assert open_ledger(run, 2).file("a") is not None


def test_moves_that_are_not_allowed_are_defects() -> None:
    for old in State:
        for new in State:
            if new in MOVES[old]:
                check(old, new)
            else:
                with pytest.raises(IllegalMoveError):
                    check(old, new)


@pytest.mark.parametrize("inode", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_an_inode_may_use_all_its_bits(ledger: Ledger, inode: int) -> None:
    version = Version(10, (1 << 63) - 1, inode)
    ledger.settled(Settled("a", Kind.OTHER, "k/a", Proof.CLOSED, version), 1.0)
    row = ledger.file("a")
    assert row is not None
    assert row.version == version
    assert dict(ledger.in_folder(""))["a"].version == version
    ledger.start(row)
    ledger.hashed(row, "s")
    ledger.delivered(row, stored())
    assert ledger.file("a") is not None
    assert not ledger.undelivered()
