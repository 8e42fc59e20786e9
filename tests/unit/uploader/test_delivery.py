from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.harbour import FakeClock, Stop, write
from tests.unit.uploader.memory_storage import BUCKET, MemoryStorage, Thing, trouble
from uploader.claim import ClaimLostError
from uploader.courier import Courier
from uploader.delivery import Deliverer
from uploader.kinds import Kind
from uploader.ledger import Ledger
from uploader.parcel import Parcel, content_type
from uploader.results import Changed, Delivered, Later, Refused, Sent, Stopped, Vanished
from uploader.rows import Settled
from uploader.run import Run
from uploader.scan import look
from uploader.sending import CHUNK_BYTES
from uploader.settle import Proof

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.storage.body import Body
    from uploader.results import Verdict
    from uploader.rows import Row

KEY = "run/outputs/a.bin"
LARGE = bytes(range(256)) * (60_000)  # three chunks
DESCRIPTORS = Path("/proc/self/fd")


class Quay:
    """One file and its delivery."""

    def __init__(self, folder: Path, storage: MemoryStorage) -> None:
        self.folder = folder
        self.path = folder / "a.bin"
        self.storage = storage
        self.run = Run(
            session_id="session-1",
            name="a",
            bucket=BUCKET,
            prefix="run",
            output=folder,
            state=folder,
            created_at=0.0,
            watched=False,
            lineage=("session-0",),
        )
        self.ledger = Ledger(folder / "ledger.1.sqlite3")
        self.clock = FakeClock()
        self.stop = Stop(self.clock)
        self.moved = 0
        self.claim: Callable[[], None] = lambda: None
        self.courier = Courier(
            storage,
            claim=self._assure,
            stop=self.stop,
            throttle=None,
            moved=self._move,
            clock=self.clock,
        )

    def _assure(self) -> None:
        self.claim()

    def _move(self, count: int) -> None:
        self.moved += count

    def settle(self, content: bytes | None = None, kind: Kind = Kind.OTHER) -> Row:
        if content is not None:
            write(self.path, content)
        seen = look(self.folder, "a.bin")
        assert seen is not None
        self.ledger.settled(Settled("a.bin", kind, "outputs/a.bin", Proof.CLOSED, seen.version), 1.0)
        return self.row()

    def row(self) -> Row:
        row = self.ledger.file("a.bin")
        assert row is not None
        return row

    def parcel(self, **more: object) -> Parcel:
        parcel = Parcel(self.row(), self.path, BUCKET, KEY)
        return replace(parcel, **more)  # type: ignore[arg-type]  # fields by name

    def deliver(self, parcel: Parcel | None = None) -> Verdict:
        """Deliver once, prove it, and record it as the daemon does."""
        self.ledger.start(self.row())
        deliverer = Deliverer(self.run, self.courier, self.ledger, self.clock)
        result = deliverer.deliver(parcel or self.parcel())
        if isinstance(result, Sent):
            [result] = deliverer.prove([result])
        if isinstance(result, Delivered):
            self.ledger.delivered(self.row(), result.stored)
        return result

    @property
    def received(self) -> int:
        return self.storage.received.get(KEY, 0)

    def check_there(self, content: bytes) -> None:
        assert self.storage.objects[KEY].content == content
        assert self.storage.objects[KEY].metadata["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.fixture(params=[True, False], ids=["md5", "multipart"])
def quay(tmp_path: Path, request: pytest.FixtureRequest) -> Quay:
    return Quay(tmp_path, MemoryStorage(digests=request.param))


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
def test_a_version_arrives_and_is_not_sent_again(quay: Quay, content: bytes) -> None:
    quay.settle(content)
    result = quay.deliver()
    assert isinstance(result, Delivered)
    assert result.sent == len(content) == quay.moved
    quay.check_there(content)
    quay.path.touch()
    quay.settle()
    again = quay.deliver()
    assert isinstance(again, Delivered)
    assert (again.sent, quay.received) == (0, len(content))


def test_a_new_version_replaces_the_old(quay: Quay) -> None:
    for content in (b"first", b"other", LARGE, LARGE[::-1]):
        quay.settle(content)
        assert isinstance(quay.deliver(), Delivered)
        quay.check_there(content)


def test_after_a_lost_ledger_what_lies_there_is_recognised(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.deliver()
    quay.ledger.close()
    (quay.folder / "ledger.1.sqlite3").unlink()
    quay.ledger = Ledger(quay.folder / "ledger.1.sqlite3")
    quay.settle()
    result = quay.deliver()
    assert isinstance(result, Delivered)
    assert (result.sent, quay.received) == (0, len(LARGE))


def test_a_server_that_takes_less_than_was_sent_is_taken_at_its_word(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.storage.keep_of_append = 1000
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert quay.moved == len(LARGE)


def test_an_upload_goes_on_where_an_earlier_process_stopped(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.storage.while_sending = lambda key: quay.stop.set() if quay.received > CHUNK_BYTES * 1.5 else None
    quay.courier.block = 1 << 20
    assert isinstance(quay.deliver(), Stopped)
    quay.stop.clear()
    quay.storage.while_sending = lambda key: None
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert quay.received <= len(LARGE) + CHUNK_BYTES


def test_an_upload_that_the_server_forgot_starts_anew(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.storage.fail("append", Trouble.UPLOAD_GONE, times=1)
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert quay.storage.count("create_upload") == 2


def test_a_server_that_forgets_again_and_again_is_not_asked_for_ever(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.storage.fail("append", Trouble.UPLOAD_GONE, times=100)
    result = quay.deliver()
    assert isinstance(result, Later)
    assert quay.storage.count("create_upload") == 3
    assert quay.row().upload_url is None


@pytest.mark.parametrize("taken", [0, 1_000_000])
def test_a_server_that_takes_less_and_less_or_nothing_is_not_fed_for_ever(quay: Quay, taken: int) -> None:
    """It says that all is well each time."""
    quay.settle(LARGE)
    asked: list[int] = []

    def swallowing(url: str, offset: int, body: Body) -> int:
        asked.append(offset)
        assert len(asked) < 100
        for _ in body.blocks():
            pass
        return min(offset, taken)

    quay.storage.append = swallowing  # type: ignore[method-assign]  # all is well, says the server
    assert isinstance(quay.deliver(), Later)
    assert KEY not in quay.storage.objects


def test_an_upload_that_is_gone_because_it_became_the_object_is_not_sent_again(quay: Quay) -> None:
    quay.settle(LARGE)
    chunks = -(-len(LARGE) // CHUNK_BYTES)
    appended = quay.storage.append

    def losing(url: str, offset: int, body: object) -> int:
        told = appended(url, offset, body)  # type: ignore[arg-type]  # passed through
        if quay.storage.count("append") == chunks:
            raise trouble(Trouble.UNREACHABLE)
        return told

    quay.storage.append = losing  # type: ignore[method-assign]  # the last answer is lost
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert (quay.received, quay.storage.count("create_upload")) == (len(LARGE), 1)


def test_an_upload_that_is_gone_has_not_become_what_lay_there_before(quay: Quay) -> None:
    """Another training left the very same bytes."""
    quay.settle(LARGE)
    sha256 = hashlib.sha256(LARGE).hexdigest()
    quay.storage.objects[KEY] = Thing(LARGE, "version-0", {"sha256": sha256, "session": "a stranger's"})
    quay.storage.fail("append", Trouble.UPLOAD_GONE, times=1)
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert quay.storage.objects[KEY].metadata["session"] == "session-1"


@pytest.mark.guarantee("nothing-lost", fault="all bytes of an upload arrive and the server makes no object of them")
@pytest.mark.parametrize("before", [None, LARGE[::-1]], ids=["a new key", "over an older object"])
def test_all_bytes_there_but_no_object_of_them(quay: Quay, before: bytes | None) -> None:
    if before is not None:
        quay.settle(before)
        quay.deliver()
    received = quay.received
    quay.settle(LARGE)
    quay.storage.commits = False
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(LARGE)
    assert (quay.storage.count("finish"), quay.received - received) == (1, len(LARGE))


@pytest.mark.parametrize("content", [b"x" * 1_000_000, LARGE])
def test_a_mixture_of_two_versions_never_becomes_an_object(quay: Quay, content: bytes) -> None:
    """The file changes in place after its first blocks have left, and even its mtime is put back."""
    quay.settle(content)
    changed = bytearray(content)
    changed[-1] ^= 1

    def change(_: str) -> None:
        if quay.path.read_bytes()[-1] == content[-1]:
            quay.path.write_bytes(changed)

    quay.storage.while_sending = change
    assert isinstance(quay.deliver(), Changed)
    assert KEY not in quay.storage.objects
    assert quay.storage.uploads == {}
    quay.storage.while_sending = lambda key: None
    quay.settle()
    assert isinstance(quay.deliver(), Delivered)
    quay.check_there(bytes(changed))


def test_a_small_file_that_was_read_in_the_middle_of_a_change_is_not_sent(quay: Quay) -> None:
    """It is read in one go, while somebody rewrites it who even puts its mtime back."""
    quay.settle(b"half of the old")
    times = quay.path.stat()

    def change() -> None:
        quay.path.write_bytes(b"all of the new!")
        os.utime(quay.path, ns=(times.st_atime_ns, times.st_mtime_ns))
        quay.claim = lambda: None

    quay.claim = change
    assert isinstance(quay.deliver(), Changed)
    assert quay.received == 0


def test_the_last_block_is_held_back_until_the_digest_is_right(quay: Quay) -> None:
    quay.settle(LARGE)
    quay.ledger.hashed(quay.row(), "0" * 64)
    assert isinstance(quay.deliver(), Changed)
    assert KEY not in quay.storage.objects
    assert quay.received < len(LARGE)


def test_a_file_that_changed_before_its_turn_is_settled_anew(quay: Quay) -> None:
    quay.settle(b"first")
    write(quay.path, b"second")
    assert isinstance(quay.deliver(), Changed)
    assert quay.received == 0


def test_a_growing_file_is_delivered_as_the_prefix_that_was_settled(quay: Quay) -> None:
    quay.settle(b"one\n")
    with quay.path.open("ab") as file:
        file.write(b"two\n")
    assert isinstance(quay.deliver(quay.parcel(growing=True)), Delivered)
    quay.check_there(b"one\n")
    parcel = quay.parcel(growing=True)
    quay.settle(b"x")
    assert isinstance(quay.deliver(parcel), Changed)


def test_what_is_wrong_with_a_file(quay: Quay) -> None:
    quay.settle(b"a")
    quay.path.unlink()
    assert isinstance(quay.deliver(), Vanished)
    quay.path.symlink_to(quay.folder)
    assert isinstance(quay.deliver(), Refused)
    quay.path.unlink()
    quay.path.mkdir()
    assert isinstance(quay.deliver(), Refused)


@pytest.mark.parametrize("held", [True, False], ids=["held open", "by its name"])
def test_a_file_that_opens_and_then_tells_nothing_of_itself_costs_no_descriptor(
    quay: Quay, monkeypatch: pytest.MonkeyPatch, *, held: bool
) -> None:
    quay.settle(b"a")
    parcel = quay.parcel(held=os.open(quay.path, os.O_RDONLY) if held else None)

    def stale(_: int) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        assert isinstance(quay.deliver(parcel), Later)
    assert opened(quay.path) == 0


def opened(path: Path) -> int:
    """Return how many descriptors of this process lead to ``path``."""
    count = 0
    for descriptor in DESCRIPTORS.iterdir():
        # The one of this very listing is gone by then.
        with suppress(FileNotFoundError):
            count += descriptor.readlink() == path
    return count


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (trouble(Trouble.TOO_LARGE), Refused),
        (trouble(Trouble.WRONG_TYPE), Refused),
        (trouble(Trouble.INVALID_KEY), Refused),
        (trouble(Trouble.DENIED), Later),
        (trouble(Trouble.BUCKET_NOT_FOUND), Later),
        (trouble(Trouble.UNREACHABLE), Later),
        (trouble(Trouble.BUSY), Later),
        (trouble(Trouble.LOCKED), Later),
        (trouble(Trouble.EXISTS), Later),
        (trouble(Trouble.NOT_FOUND), Later),
        (trouble(Trouble.UPLOAD_GONE), Later),
    ],
)
@pytest.mark.parametrize("content", [b"small", LARGE])
def test_what_becomes_of_storages_trouble(
    quay: Quay, content: bytes, error: StorageError, expected: type[Verdict]
) -> None:
    quay.settle(content)
    for call in ("put", "create_upload"):
        quay.storage.fail(call, error, times=100)
    result = quay.deliver()
    assert type(result) is expected
    if isinstance(result, Later):
        confused = error.trouble in {Trouble.EXISTS, Trouble.NOT_FOUND, Trouble.UPLOAD_GONE}
        assert result.server_down is (error.trouble is not Trouble.LOCKED and not confused)
        assert not confused or result.most_attempts
    assert KEY not in quay.storage.objects


def test_a_record_that_does_not_match_is_no_proof_and_is_not_tried_for_ever(quay: Quay) -> None:
    quay.settle(b"content")
    stored = quay.storage._store

    def corrupt(key: str, content: bytes, metadata: object) -> None:
        stored(key, content + b"!", {})

    quay.storage._store = corrupt  # type: ignore[method-assign]  # the server keeps something else
    result = quay.deliver()
    assert isinstance(result, Later)
    assert result.most_attempts is not None
    assert not result.moved


def test_the_old_object_of_the_same_size_is_no_proof(quay: Quay) -> None:
    """The answer says that it is stored, and the key still holds what an earlier run put there."""
    quay.settle(b"first")
    quay.deliver()
    quay.settle(b"other")
    quay.storage._store = lambda *_: None  # type: ignore[method-assign]  # takes everything, keeps nothing
    assert isinstance(quay.deliver(), Later)


def send_and_die(quay: Quay, content: bytes) -> None:
    """Send a version, delete its file, and take no note of either."""
    quay.settle(content)
    quay.ledger.start(quay.row())
    Deliverer(quay.run, quay.courier, quay.ledger, quay.clock).deliver(quay.parcel())
    quay.path.unlink()


@pytest.mark.guarantee(
    "nothing-lost", fault="the uploader is killed before it notes an upload, and the file is gone then"
)
@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_what_has_arrived_is_delivered_although_its_file_is_gone(quay: Quay, content: bytes) -> None:
    send_and_die(quay, content)
    result = quay.deliver()
    assert isinstance(result, Delivered)
    assert (result.stored.sha256, result.sent) == (hashlib.sha256(content).hexdigest(), 0)
    assert quay.received == len(content)


@pytest.mark.guarantee("true-manifest", fault="what lies at a deleted file's key only looks like its last version")
@pytest.mark.parametrize(
    "changes",
    [
        {"content": b"smalL"},
        {"content": b"smaller"},
        {"metadata": {"session": "session-0"}},
        {"metadata": {"mtime": "1.0"}},
        {"metadata": {"path": "b.bin"}},
    ],
    ids=["damaged", "longer", "another session's", "older", "another file's"],
)
def test_what_is_not_that_very_version_is_no_proof(quay: Quay, changes: dict[str, Any]) -> None:
    send_and_die(quay, b"small")
    there = quay.storage.objects[KEY]
    metadata = {**there.metadata, **changes.get("metadata", {})}
    quay.storage.objects[KEY] = Thing(changes.get("content", there.content), there.version, metadata)
    assert isinstance(quay.deliver(), Vanished)


@pytest.mark.parametrize("call", ["info", "open"])
def test_who_cannot_ask_decides_nothing_about_a_deleted_file(quay: Quay, call: str) -> None:
    send_and_die(quay, b"small")
    quay.storage.fail(call, Trouble.UNREACHABLE, times=9)
    assert isinstance(quay.deliver(), Later)


def test_whoever_has_lost_the_claim_sends_nothing(quay: Quay) -> None:
    def lost() -> None:
        raise ClaimLostError

    quay.claim = lost
    for content in (b"small", LARGE):
        quay.settle(content)
        assert isinstance(quay.deliver(), Stopped)
    assert quay.received == 0


def test_one_run_can_be_halted_alone(quay: Quay) -> None:
    quay.settle(b"small")
    quay.courier.halt()
    assert isinstance(quay.deliver(), Stopped)
    quay.courier.resume()
    assert isinstance(quay.deliver(), Delivered)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("logs/training.log", "text/plain; charset=utf-8"),
        ("samples/a.PNG", "image/png"),
        ("a.json", "application/json"),
        ("a.safetensors", "application/octet-stream"),
        ("nosuffix", "application/octet-stream"),
    ],
)
def test_what_the_browser_is_told(key: str, kind: str) -> None:
    assert content_type(key) == kind


@pytest.mark.guarantee("told", fault="a sparse file claims to be a terabyte")
@pytest.mark.parametrize("kind", [Kind.OTHER, Kind.OPTIMIZER])
def test_what_storage_would_never_take_is_neither_read_nor_copied(
    quay: Quay, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    with quay.path.open("wb") as file:
        file.truncate(1 << 40)
    quay.settle(kind=kind)
    monkeypatch.setattr(quay.storage, "takes", lambda bucket, size, kind: size < 1 << 40)
    spool = quay.folder / "spool" / "copy" if kind is Kind.OPTIMIZER else None
    result = quay.deliver(quay.parcel(spool=spool))
    assert isinstance(result, Refused)
    assert "Storage takes no file of 1099511627776 bytes. Raise the file size limit" in result.reason
    assert quay.row().sha256 is None
    assert spool is None or not spool.exists()
