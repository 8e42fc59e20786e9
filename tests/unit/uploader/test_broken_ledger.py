"""A ledger that is damaged is found out, whatever has happened to it: nothing false is ever read from it."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from shared.contract.upload import Upload
from tests.unit.uploader.harbour import WORKER, Harbour
from uploader import queries
from uploader.kinds import Kind
from uploader.ledger import Ledger
from uploader.ledger_file import LedgerError
from uploader.opening import open_ledger
from uploader.rows import Settled, Stored
from uploader.scan import Version
from uploader.settle import Proof
from uploader.states import State

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from uploader.rows import Row, StoredFile
    from uploader.run import Run

STORM = bool(os.environ.get("FERRY_STORM"))
SEED = int(os.environ.get("FERRY_SEED", "1"))
PAGE = 4096
FILES = 60
KINDS = (Kind.CHECKPOINT, Kind.SAMPLE, Kind.LOG, Kind.OTHER)

# The first version's tables, as far as it takes to be one.
OLD_SCHEMA = """
CREATE TABLE files (path BLOB PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO files VALUES (CAST('a.txt' AS BLOB), 'delivered');
PRAGMA user_version = 1;
"""


def fill(ledger: Ledger) -> None:
    """Record files in every state: delivered, under way with an upload's address, waiting, refused, gone."""
    with ledger.transaction():
        ledger.add_objects((f"old/{number}", number, "etag") for number in range(FILES))
        for number in range(FILES):
            settle(ledger, number)


def settle(ledger: Ledger, number: int) -> None:
    path = f"pictures/{number:03d}.bin"
    version = Version(1000 + number, 10**18 + number, 500 + number)
    ledger.settled(Settled(path, KINDS[number % 4], f"outputs/{path}", Proof.CLOSED, version, step=number), 1.5)
    row = ledger.file(path)
    assert row is not None
    if number % 6 and ledger.start(row):
        ledger.hashed(row, f"{number:064x}")
        ledger.upload_url(row, f"http://server/upload/{number}")
    if number % 6 in {2, 3}:
        ledger.delivered(row, Stored(f"{number:064x}", version.size, 1e9, f"version-{number}", number, 2.0))
    elif number % 6 == 4:
        ledger.end(row, State.SENDING, State.GONE, "it was deleted before it could be uploaded")


def told(ledger: Ledger) -> tuple[list[Row], list[StoredFile], list[StoredFile]]:
    """Return everything of a ledger that decides what is sent and what a manifest says."""
    return ledger.undelivered(), list(ledger.stored()), ledger.doubtful()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.sqlite3"
    ledger = Ledger(path)
    fill(ledger)
    ledger.close()
    return path


def read(path: Path) -> tuple[list[Row], list[StoredFile], list[StoredFile]] | None:
    """Return what the ledger at ``path`` tells, None when it is found to be damaged."""
    try:
        ledger = Ledger(path)
    except LedgerError:
        return None
    try:
        return told(ledger)
    except LedgerError:
        return None
    finally:
        ledger.close()


def test_every_column_is_sealed(whole: Path) -> None:
    connection = sqlite3.connect(whole)
    for table, columns in (("files", queries.FILE_COLUMNS), ("stored", queries.STORED_COLUMNS)):
        assert [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] == list(columns)
    connection.close()


@pytest.mark.guarantee("true-manifest", fault="bytes of the ledger flip on a failing disk")
def test_a_flipped_byte_is_found_out_or_changes_nothing(tmp_path: Path, whole: Path) -> None:
    content, truth = whole.read_bytes(), read(whole)
    damaged, chance = tmp_path / "damaged.sqlite3", random.Random(SEED)
    found = 0
    rounds = 20_000 if STORM else 400
    for _ in range(rounds):
        flipped = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            flipped[chance.randrange(len(flipped))] ^= chance.randrange(1, 256)
        damaged.write_bytes(flipped)
        believed = read(damaged)
        found += believed is None
        assert believed in (None, truth)
    print(f"{rounds} ledgers with flipped bytes: {found} refused, {rounds - found} unharmed")
    # Most of a page is in use; a check that never finds anything would not be one.
    assert found > rounds // 3


@pytest.mark.guarantee("true-manifest", fault="a digit of the ledger becomes another one, which SQLite does not notice")
@pytest.mark.parametrize("text", [f"{2:064x}", "outputs/pictures/002.bin", "version-2", "http://server/upload/1"])
def test_another_digit_in_a_row_is_found_out(tmp_path: Path, whole: Path, text: str) -> None:
    content = whole.read_bytes()
    assert text.encode() in content
    damaged = tmp_path / "damaged.sqlite3"
    damaged.write_bytes(content.replace(text.encode(), text[:-1].encode() + b"7"))
    assert read(damaged) is None


@pytest.mark.guarantee("true-manifest", fault="bytes flip in a ledger that is already open")
def test_a_row_that_is_damaged_while_the_ledger_is_open_is_not_told(whole: Path) -> None:
    ledger = Ledger(whole)
    with ledger.transaction():
        # Out of the cache, so that it is read from the disk again.
        ledger._connection.execute("PRAGMA cache_size = 1")
        ledger._connection.execute("PRAGMA shrink_memory")
    content = whole.read_bytes()
    whole.write_bytes(content.replace(f"{2:064x}".encode(), f"{7:064x}".encode()))
    ledger._connection.execute("PRAGMA shrink_memory")
    with pytest.raises(LedgerError):
        list(ledger.stored())


@pytest.mark.guarantee("true-manifest", fault="the ledger is cut off at any page")
def test_a_ledger_that_was_cut_off_at_any_page_is_found_out(tmp_path: Path, whole: Path) -> None:
    content = whole.read_bytes()
    damaged = tmp_path / "damaged.sqlite3"
    for pages in range(1, len(content) // PAGE):
        damaged.write_bytes(content[: pages * PAGE])
        assert read(damaged) is None, f"{pages} pages"


@pytest.mark.guarantee("true-manifest", fault="the journal of an interrupted transaction is damaged as well")
def test_a_damaged_journal_brings_back_nothing_that_was_not_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    fill(ledger)
    before = list(ledger.stored())
    ledger._connection.execute("PRAGMA cache_size = 1")
    ledger._connection.execute("BEGIN IMMEDIATE")
    for number in range(FILES, 3 * FILES):
        settle(ledger, number)
    true = {file.key: file for file in ledger.stored()}
    content, journal = path.read_bytes(), path.with_name("ledger.sqlite3-journal").read_bytes()
    assert journal
    ledger.close()

    damaged, chance = tmp_path / "damaged.sqlite3", random.Random(SEED)
    for number in range(2000 if STORM else 60):
        flipped = bytearray(journal)
        for _ in range(number and chance.choice((1, 3, 100))):
            flipped[chance.randrange(len(flipped))] ^= chance.randrange(1, 256)
        damaged.write_bytes(content)
        damaged.with_name("damaged.sqlite3-journal").write_bytes(flipped)
        believed = read(damaged)
        assert believed is None or all(true[file.key] == file for file in believed[1])
        if not number:
            assert believed is not None
            assert believed[1] == before


# Whatever lies in its place


def nothing(_: Path) -> None:
    return


def empty(path: Path) -> None:
    path.touch()


def folder(path: Path) -> None:
    path.mkdir()
    (path / "file").touch()


def link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1000)


def header_alone(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\x10\0\x01\x01\0\x40\x20\x20")


def half_written(path: Path) -> None:
    made(path)
    path.write_bytes(path.read_bytes()[: 2 * PAGE + 100])


def older(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(OLD_SCHEMA)
    connection.close()


def newer(path: Path) -> None:
    made(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def other_tables(path: Path) -> None:
    made(path)
    path.write_bytes(path.read_bytes().replace(b"first_seen  REAL NOT NULL", b"first_seen  TEXT NOT NULL"))


def no_text(path: Path) -> None:
    made(path)
    path.write_bytes(path.read_bytes().replace(b"http://server/upload/1", b"\xff\xfetp://server/upload/1"))


def journal_alone(path: Path) -> None:
    path.with_name(f"{path.name}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\0" * 1000)


def folder_for_a_journal(path: Path) -> None:
    made(path)
    journal = path.with_name(f"{path.name}-journal")
    journal.unlink()
    journal.mkdir()


def made(path: Path) -> None:
    ledger = Ledger(path)
    fill(ledger)
    ledger.close()


NOTHING_TO_SET_ASIDE = (nothing, empty, journal_alone)
SET_ASIDE = (
    folder, link, fifo, nonsense, header_alone, half_written, older, newer, other_tables, no_text, folder_for_a_journal,
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Harbour(tmp_path).session_run()


def used(run: Run) -> None:
    """Leave the word of an uploader that has worked under the claim's first epoch."""
    Upload(worker=WORKER, claim_epoch=1).write(run.upload_file)


@pytest.mark.guarantee(
    "nothing-lost", fault="the ledger is broken, half-written, of another version, or no file at all"
)
@pytest.mark.parametrize("damage", SET_ASIDE, ids=lambda damage: damage.__name__)
def test_a_ledger_of_no_use_is_set_aside_and_named(
    run: Run, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(run.ledger(1))
    for _ in range(2):
        ledger = open_ledger(run, 1)
        assert not ledger.undelivered()
        ledger.close()
    [message] = [message for message in caplog.messages if message.startswith("ledger_set_aside")]
    assert "file=ledger.1.sqlite3" in message
    assert os.path.lexists(run.state / "ledger.1.sqlite3.broken")
    # The next one that breaks takes its place, whatever it was.
    run.ledger(1).write_bytes(b"nonsense")
    open_ledger(run, 1).close()
    assert (run.state / "ledger.1.sqlite3.broken").read_bytes() == b"nonsense"


@pytest.mark.guarantee("nothing-lost", fault="the ledger is deleted")
@pytest.mark.parametrize("damage", NOTHING_TO_SET_ASIDE, ids=lambda damage: damage.__name__)
def test_a_ledger_that_is_missing_is_named_when_there_must_have_been_one(
    run: Run, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    damage(run.ledger(1))
    open_ledger(run, 1).close()
    assert not caplog.messages
    run.ledger(1).unlink()
    damage(run.ledger(1))
    used(run)
    for _ in range(2):
        open_ledger(run, 1).close()
    [message] = caplog.messages
    assert message.startswith("ledger_rebuilt")


def test_a_journal_that_an_interrupted_copying_left_is_not_played_into_the_next_copy(run: Run) -> None:
    first = open_ledger(run, 1)
    fill(first)
    first.close()
    first.path.with_name(f"{first.path.name}-journal").unlink()
    stray = run.ledger(2).with_name("ledger.2.sqlite3-journal")
    stray.write_bytes(b"of another transaction")
    second = open_ledger(run, 2)
    assert len(second.undelivered()) == FILES * 4 // 6
    assert stray.read_bytes() == b""


def test_the_newest_ledger_was_lost_and_what_an_older_one_knew_is_not_believed(run: Run) -> None:
    first = open_ledger(run, 1)
    fill(first)
    first.close()
    Upload(worker=WORKER, claim_epoch=2).write(run.upload_file)
    assert not open_ledger(run, 2).undelivered()


def test_an_older_ledger_that_is_no_file_is_passed_over(run: Run) -> None:
    first = open_ledger(run, 1)
    fill(first)
    first.close()
    run.ledger(2).mkdir()
    assert len(open_ledger(run, 3).undelivered()) == FILES * 4 // 6


# Errors told apart


def test_the_disks_own_trouble_is_no_damage(whole: Path) -> None:
    ledger = Ledger(whole)
    ledger._connection.execute("PRAGMA max_page_count = 1")

    def fill_the_disk() -> None:
        with ledger.transaction():
            for number in range(FILES, 5 * FILES):
                settle(ledger, number)

    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        fill_the_disk()
    assert not isinstance(caught.value, LedgerError)
    ledger.close()
    with pytest.raises(sqlite3.ProgrammingError):
        ledger.totals()


def test_a_statement_that_meets_damage_says_so(whole: Path) -> None:
    ledger = Ledger(whole)
    ledger._connection.execute("PRAGMA cache_size = 1")
    content = whole.read_bytes()
    whole.write_bytes(content[:PAGE] + b"\xa5" * (len(content) - PAGE))

    def fill_it_thrice() -> None:
        for _ in range(3):
            fill(ledger)

    with pytest.raises(LedgerError):
        fill_it_thrice()
