"""A day without Storage, and hours with half of one: what is asked is counted, and everything arrives after."""

from __future__ import annotations

import logging
import os
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from shared.contract.upload import StorageState, Upload
from shared.errors import ErrorCode, FerryError
from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.bridge import Bridge
from tests.unit.uploader.harbour import SETTINGS, Harbour, safetensors, swift_folder, write
from tests.unit.uploader.memory_storage import MemoryStorage, trouble
from uploader.ledger import Ledger
from uploader.line import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from uploader.sending import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.storage.body import Body

DAY, HOURS = 86_400.0, 10_800.0
# The first minutes second by second; later pauses are far longer than such a step.
MINUTES, STEP = 200, 30.0
LARGE = safetensors(os.urandom(CHUNK_BYTES + 100_000))


class Diary(MemoryStorage):
    """A Storage that notes when (seconds) each call came, and can be away, in whole or for some calls."""

    def __init__(self, harbour: Harbour) -> None:
        super().__init__()
        self.harbour = harbour
        self.asked: list[tuple[float, str]] = []
        self.wrong_file = False

    def renew_key(self) -> None:
        if self.wrong_file:
            raise FerryError(ErrorCode.INVALID_INPUT, "The file holds no key.")

    def _begin(self, call: str, key: str) -> None:
        self.asked.append((self.harbour.clock.passed, call))
        super()._begin(call, key)

    def away(self, *calls: str, error: StorageError | Trouble = Trouble.UNREACHABLE) -> None:
        for call in calls or ("*",):
            self.fail(call, error, times=10**9)

    def since(self, moment: float) -> list[tuple[float, str]]:
        return [(at, call) for at, call in self.asked if at >= moment]


class Day:
    """One session, and a daemon that carries it."""

    def __init__(self, folder: Path) -> None:
        self.harbour = Harbour(folder)
        self.storage = Diary(self.harbour)
        self.storage.while_sending = self.harbour.storage.while_sending
        self.harbour.storage = self.storage
        self.output = self.harbour.session().output
        self.bridge = Bridge(self.harbour)

    @property
    def now(self) -> float:
        return self.harbour.clock.passed

    @property
    def upload(self) -> Upload:
        return Upload.read(self.harbour.session().upload_file) or Upload(worker="nobody")

    @property
    def receipt(self) -> str | None:
        return self.upload.receipt.token if self.upload.receipt else None

    def pass_by(self, seconds: float) -> None:
        """Let so much time go by."""
        self.bridge.tick(MINUTES)
        self.bridge.tick(int((seconds - MINUTES) / STEP), STEP)

    def until(self, token: str) -> None:
        self.bridge.until(lambda: self.receipt == token)


@pytest.fixture
def day() -> Iterator[Day]:
    with swift_folder() as folder:
        yield Day(folder)


def begin(day: Day, moment: str) -> None:
    """Have Storage go away at ``moment`` of a run with a small file and a large one."""
    write(day.output / "small.txt", "small")
    if moment == "before the claim":
        day.storage.away()
    write(day.output / "large.safetensors", LARGE)
    if moment == "in mid-transfer":
        still = day.storage.while_sending

        def cut(key: str) -> None:
            if day.storage.received.get(key, 0) >= CHUNK_BYTES and "large" in key:
                day.storage.while_sending = still
                day.storage.away()
                raise trouble(Trouble.UNREACHABLE)

        day.storage.while_sending = cut
    day.bridge.tick(70)
    if moment == "at the drain":
        write(day.output / "last.txt", "last")
        day.storage.away()
        day.harbour.drained()


@pytest.mark.guarantee("nothing-lost", fault="Storage is away for a day")
@pytest.mark.parametrize("moment", ["before the claim", "in mid-transfer", "at the drain"])
def test_after_a_day_without_storage_everything_arrives_and_one_probe_had_asked(
    day: Day, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin(day, moment)
    caplog.clear()
    caplog.set_level(logging.INFO)
    begun = day.now
    day.pass_by(DAY)
    assert day.upload.storage is StorageState.DOWN
    assert any("no connection" in warning or "a test wants it" in warning for warning in day.upload.warnings)
    check_probes(day.storage.since(begun + 20), day.now)
    # A line about it, and none for every file or question.
    assert len(caplog.records) < 20
    day.storage.uploads.clear()
    day.storage.faults.clear()
    if moment != "at the drain":
        day.harbour.drained()
    back = day.now
    day.until("drain-1")
    answered = next(at for at, call in day.storage.since(back) if call == "bucket")
    resumed = next(at for at, call in day.storage.since(back) if call != "bucket")
    assert answered - back <= LONGEST_PAUSE_SECONDS
    assert resumed - answered <= SETTINGS.poll_seconds
    assert (day.harbour.content("outputs/small.txt"), day.harbour.content("checkpoints/large.safetensors")) == (
        b"small",
        LARGE,
    )
    manifest = day.harbour.manifest()
    assert manifest is not None
    assert manifest.complete
    assert caplog.text.count("storage_back") == 1


def check_probes(asked: list[tuple[float, str]], end: float) -> None:
    """Fail unless nothing but one question at a time was asked, ever more rarely, but never too rarely."""
    assert {call for _, call in asked} == {"bucket"}
    times = [at for at, _ in asked]
    assert len(set(times)) == len(times)
    pauses = [after - before for before, after in pairwise(times)]
    assert len(asked) <= DAY / (0.75 * LONGEST_PAUSE_SECONDS) + 10
    assert max(pauses) < LONGEST_PAUSE_SECONDS + STEP + 1
    assert end - times[-1] < LONGEST_PAUSE_SECONDS + STEP + 1
    assert min(pauses) > FIRST_PAUSE_SECONDS
    assert min(pauses[10:]) >= 0.75 * LONGEST_PAUSE_SECONDS


@pytest.mark.guarantee("undisturbed", fault="Storage knows its buckets and takes nothing for hours")
def test_half_an_outage_is_no_reason_to_try_every_file_again_and_again(day: Day) -> None:
    day.bridge.tick(5)
    for number in range(40):
        write(day.output / f"{number}.txt", "x")
    day.storage.away("put")
    begun = day.now
    day.pass_by(HOURS)
    openings = sum(call == "bucket" for _, call in day.storage.since(begun + MINUTES))
    tried = sum(call == "put" for _, call in day.storage.since(begun + MINUTES))
    assert openings <= HOURS / (0.75 * LONGEST_PAUSE_SECONDS)
    # One file and one status.json each time, with the few attempts that any call is given; what the opening before
    # the count let through may still be at it.
    assert tried <= (openings + 1) * 2 * 4
    day.storage.faults.clear()
    day.harbour.drained()
    day.until("drain-1")
    assert len([key for key in day.storage.objects if "/outputs/" in key]) == 40


@pytest.mark.guarantee("nothing-lost", fault="the key is refused for hours and then replaced")
def test_a_key_that_is_refused_costs_no_file(day: Day) -> None:
    for number in range(40):
        write(day.output / f"{number}.txt", "x")
    day.bridge.tick(5)
    day.storage.away(error=Trouble.DENIED)
    day.pass_by(HOURS)
    assert day.upload.storage is StorageState.DENIED
    assert day.upload.failed.files == 0
    assert any("SUPABASE_SERVICE_KEY" in warning for warning in day.upload.warnings)
    day.storage.faults.clear()
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == 40


@pytest.mark.guarantee("nothing-lost", fault="a gateway has an odd answer to everything for hours")
@pytest.mark.parametrize("count", [1, 40])
def test_a_gateway_that_has_lost_its_way_costs_no_file(day: Day, count: int) -> None:
    day.bridge.tick(5)
    for number in range(count):
        write(day.output / f"{number}.txt", "x")
    day.storage.away(error=Trouble.BROKEN)
    day.pass_by(HOURS)
    assert (day.upload.storage, day.upload.failed.files) == (StorageState.DOWN, 0)
    day.storage.faults.clear()
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == count


def test_a_second_file_that_is_refused_has_storage_asked_at_once_and_one_alone_does_not(day: Day) -> None:
    day.bridge.tick(5)
    day.storage.fail("put", Trouble.BROKEN, key="/outputs/", times=10**9)
    write(day.output / "a.txt", "x")
    day.bridge.until(lambda: day.storage.count("put", "a.txt") == 3)
    asked = day.storage.count("bucket")
    write(day.output / "b.txt", "x")
    day.bridge.until(lambda: day.storage.count("put", "b.txt") == 1)
    day.bridge.tick(2)
    assert (asked, day.storage.count("bucket")) == (0, 1)


def test_an_outage_that_turns_into_a_refusal_is_told_as_one(day: Day, caplog: pytest.LogCaptureFixture) -> None:
    day.bridge.tick(5)
    day.storage.away()
    day.bridge.tick(100)
    day.storage.faults.clear()
    day.storage.away(error=Trouble.DENIED)
    day.bridge.tick(300)
    down, refused = (record.getMessage() for record in caplog.records if "storage_down" in record.getMessage())
    assert "SUPABASE_SERVICE_KEY" in refused
    assert "SUPABASE_SERVICE_KEY" not in down


@pytest.mark.guarantee("nothing-lost", fault="the key is refused after other trouble with the same file")
def test_only_refusals_in_a_row_count_against_a_file(day: Day) -> None:
    day.bridge.tick(5)
    write(day.output / "a.txt", "x")
    # Each attempt is four calls.
    day.storage.fail("put", Trouble.UNREACHABLE, key="a.txt", times=20)
    day.storage.fail("put", Trouble.DENIED, key="a.txt")
    day.harbour.drained()
    day.until("drain-1")
    assert (day.upload.uploaded.files, day.upload.failed.files) == (1, 0)


@pytest.mark.guarantee("nothing-lost", fault="the key is refused, Storage goes away, and the key is refused again")
def test_an_outage_wipes_out_what_was_refused_before_it(day: Day) -> None:
    day.bridge.tick(5)
    write(day.output / "a.txt", "x")
    day.storage.fail("put", Trouble.DENIED, key="a.txt", times=10**9)
    day.bridge.until(lambda: day.storage.count("put", "a.txt") == 2)
    day.storage.away()
    day.bridge.tick(100)
    day.storage.faults.clear()
    day.storage.fail("put", Trouble.DENIED, key="a.txt")
    day.harbour.drained()
    day.until("drain-1")
    assert (day.upload.uploaded.files, day.upload.failed.files) == (1, 0)


@pytest.mark.guarantee("nothing-lost", fault="a key is rotated, and some servers take the new one later than others")
@pytest.mark.guarantee("nothing-lost", fault="a gateway has an odd answer to every upload for some seconds")
@pytest.mark.parametrize("odd", [Trouble.DENIED, Trouble.BROKEN, Trouble.NOT_FOUND])
def test_a_refusal_of_everything_that_takes_a_while_gives_no_file_up(day: Day, odd: Trouble) -> None:
    day.bridge.tick(5)
    for number in range(20):
        write(day.output / f"{number}.txt", "x")
    day.storage.fail("put", odd, key="/outputs/", times=10**9)
    day.bridge.tick(45)
    assert day.storage.count("put", "/outputs/0.txt") >= 3
    assert day.upload.failed.files == 0
    day.storage.faults.clear()
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == 20


@pytest.mark.guarantee("nothing-lost", fault="one answer asks for a day of patience")
def test_an_answer_that_asks_for_a_day_stops_nothing_for_a_day(day: Day) -> None:
    day.bridge.tick(5)
    write(day.output / "a.txt", "x")
    day.storage.fail("put", StorageError(Trouble.BUSY, "A call", "a test wants it", retry_after=DAY), key="a.txt")
    day.bridge.until(lambda: day.storage.count("put", "a.txt") > 0)
    write(day.output / "b.txt", "x")
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == 2


@pytest.mark.guarantee("nothing-lost", fault="the server never goes on with one upload and takes everything else")
@pytest.mark.parametrize("kind", [Trouble.LOCKED, Trouble.BUSY])
def test_an_upload_that_never_goes_on_is_begun_anew(day: Day, kind: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    day.bridge.tick(5)
    stop_uploads(day, kind, monkeypatch, only_first=True)
    write(day.output / "large.safetensors", LARGE)
    day.harbour.drained()
    day.until("drain-1")
    assert day.harbour.content("checkpoints/large.safetensors") == LARGE
    assert day.storage.count("create_upload") == 2


def test_an_upload_is_not_begun_anew_while_storage_takes_nothing_at_all(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.bridge.tick(5)
    write(day.output / "large.safetensors", LARGE)
    with monkeypatch.context() as patch:
        stop_uploads(day, Trouble.BUSY, patch)
        day.bridge.until(lambda: day.storage.count("create_upload") > 0)
        day.storage.away("put", error=Trouble.BUSY)
        day.pass_by(HOURS)
    day.storage.faults.clear()
    day.harbour.drained()
    day.until("drain-1")
    assert day.harbour.content("checkpoints/large.safetensors") == LARGE
    assert day.storage.count("create_upload") == 1


def stop_uploads(day: Day, kind: Trouble, patch: pytest.MonkeyPatch, *, only_first: bool = False) -> None:
    """Have uploads, or only the first, not go on after their first chunk."""
    appended, begun = day.storage.append, list[str]()

    def append(url: str, offset: int, body: Body) -> int:
        begun.append(url)
        if offset and (url == begun[0] or not only_first):
            raise trouble(kind)
        return appended(url, offset, body)

    patch.setattr(day.storage, "append", append)


@pytest.mark.guarantee("told", fault="a file is refused for good while Storage takes everything else")
def test_what_storage_refuses_alone_is_given_up_and_the_others_arrive(day: Day) -> None:
    write(day.output / "refused.txt", "x")
    write(day.output / "taken.txt", "x")
    day.storage.fail("put", Trouble.DENIED, key="refused.txt", times=10**9)
    day.harbour.drained()
    day.until("drain-1")
    assert [failure.path for failure in day.upload.failures if failure.permanent] == ["refused.txt"]
    assert day.harbour.content("outputs/taken.txt") == b"x"


@pytest.mark.guarantee("nothing-lost", fault="the key's file is replaced, or holds nonsense for a while")
def test_at_sighup_the_key_is_read_again_and_tried_at_once(day: Day, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(day.output / "a.txt", "x")
    day.storage.away(error=Trouble.DENIED)
    day.bridge.tick(400)
    day.storage.wrong_file = True
    day.bridge.world.reread.set()
    day.bridge.tick()
    assert "settings_not_read" in caplog.text
    asked = len(day.storage.asked)
    day.storage.wrong_file = False
    day.storage.faults.clear()
    day.bridge.world.reread.set()
    day.bridge.tick()
    assert "settings_read_again" in caplog.text
    assert [call for _, call in day.storage.asked[asked:]] == ["bucket"]
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == 1


@pytest.mark.guarantee("nothing-lost", fault="the disk is full when Storage comes back")
def test_an_outage_that_ends_on_a_full_disk_ends_nothing_else(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    write(day.output / "a.txt", "x")
    day.bridge.tick(5)
    write(day.output / "b.txt", "x")
    day.storage.away()
    day.bridge.tick(60)

    def full(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "hurry", full)
        day.storage.faults.clear()
        day.bridge.tick(70)
    day.harbour.drained()
    day.until("drain-1")
    assert day.upload.uploaded.files == 2
