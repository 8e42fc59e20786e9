"""Proving small files in bulk: what a listing tells, what it does not, and what a kill in between costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.storage.errors import Trouble
from tests.unit.uploader.harbour import Berth, FakeClock, Harbour, Inline, hold_of, write
from tests.unit.uploader.memory_storage import MemoryStorage, trouble
from uploader.kinds import Kind
from uploader.lanes import LINED_UP, Lane, Lanes
from uploader.parcel import Parcel
from uploader.results import Sent, Stopped
from uploader.rows import Row
from uploader.scan import Version
from uploader.settle import Proof
from uploader.stage import Stage
from uploader.states import State
from uploader.unproved import Unproved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.storage.records import ObjectRecord
    from uploader.results import Verdict

MANY = 12


def berth_at(harbour: Harbour) -> Berth:
    harbour.session()
    berth = Berth(harbour, harbour.session_run())
    berth.until(lambda: berth.carrier.stage is Stage.OPEN)
    harbour.storage.calls.clear()
    return berth


def fill(berth: Berth, count: int = MANY) -> Sequence[str]:
    names = [f"{number:03}.jpg" for number in range(count)]
    for name in names:
        write(berth.run.output / "pictures" / "samples" / name, name)
    return names


def delivered(berth: Berth) -> int:
    return hold_of(berth).ledger.totals()[State.DELIVERED].files


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


def test_many_small_files_are_proved_by_one_listing(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    fill(berth)
    berth.until(lambda: delivered(berth) == MANY)
    assert harbour.storage.count("put", "/samples/") == MANY
    assert harbour.storage.count("newest", "run/pictures/samples/0") == 1
    assert harbour.storage.count("info") == 0


def test_a_file_by_itself_is_asked_for(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    fill(berth, 1)
    berth.until(lambda: delivered(berth) == 1)
    assert (harbour.storage.count("info"), harbour.storage.count("newest")) == (1, 0)


def test_where_a_listing_tells_no_digest_each_is_asked_for(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path, MemoryStorage(digests=False))
    berth = berth_at(harbour)
    fill(berth)
    berth.until(lambda: delivered(berth) == MANY)
    assert harbour.storage.count("info") == MANY


@pytest.mark.parametrize("found", ["refuses", "others"])
def test_where_a_server_cannot_list_the_newest_each_is_asked_for(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    def newest(_bucket: str, _start: str) -> tuple[ObjectRecord, ...]:
        if found == "refuses":
            raise trouble(Trouble.BROKEN, transient=False)
        return ()

    monkeypatch.setattr(harbour.storage, "newest", newest)
    berth = berth_at(harbour)
    fill(berth)
    berth.until(lambda: delivered(berth) == MANY)
    assert harbour.storage.count("info") == MANY


def test_what_is_not_there_as_it_was_sent_is_sent_again(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    names = fill(berth)
    berth.executors[Lane.PROOF].held = True
    berth.until(lambda: harbour.storage.count("put", "/samples/") == MANY)
    berth.tick(2)
    broken = harbour.storage.objects[f"run/pictures/samples/{names[3]}"]
    broken.content = b"xxx.jpg"
    berth.executors[Lane.PROOF].held = False
    berth.executors[Lane.PROOF].release()
    berth.until(lambda: delivered(berth) == MANY)
    assert harbour.content(f"samples/{names[3]}") == names[3].encode()


def test_an_outage_between_sending_and_proof_sends_nothing_twice(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    fill(berth)
    harbour.storage.fail("newest", Trouble.UNREACHABLE, times=100)
    berth.until(lambda: delivered(berth) == MANY)
    assert harbour.storage.count("put", "/samples/") == MANY


def test_a_kill_between_sending_and_proof_sends_nothing_twice(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    fill(berth)
    berth.executors[Lane.PROOF].held = True
    berth.until(lambda: harbour.storage.count("put", "/samples/") == MANY)
    assert delivered(berth) == 0
    berth.die()
    again = Berth(harbour, harbour.session_run())
    again.until(lambda: again.carrier.stage is Stage.OPEN)
    again.until(lambda: delivered(again) == MANY)
    assert harbour.storage.count("put", "/samples/") == MANY


def test_while_more_are_sent_the_first_wait_for_them_but_not_for_long(tmp_path: Path) -> None:
    clock, asked = FakeClock(), list[int]()

    def prove(batch: Sequence[Sent]) -> list[Verdict]:
        asked.append(len(batch))
        return [Stopped()] * len(batch)

    unproved = Unproved(prove, Lanes(1, lambda: None, lambda _width, _name: Inline()), clock)
    unproved.add(sent("a.jpg"))
    clock.advance(1.5)
    unproved.add(sent("b.jpg"))
    unproved.prove(more=True)
    assert (asked, unproved.paths) == ([], ("a.jpg", "b.jpg"))
    clock.advance(0.6)
    unproved.prove(more=True)
    assert asked == [2]
    assert [row.path for row, _ in unproved.proved()] == ["a.jpg", "b.jpg"]
    assert unproved.paths == ()


def sent(path: str) -> Sent:
    row = Row(
        path, Kind.SAMPLE, path, State.SENDING, Proof.CLOSED, Version(1, 1, 1), None, None, None, None, 0, 0.0, None,
        0.0, None,
    )  # fmt: skip
    return Sent(Parcel(row, Path(path), "outputs", path), "sha256", "md5", None, 1)


def test_a_new_version_that_nobody_could_tell_from_the_old_is_asked_for_first(tmp_path: Path) -> None:
    """A listing tells no version: where there is no digest either, only the record before shows that it is another."""
    harbour = Harbour(tmp_path)
    berth = berth_at(harbour)
    names = fill(berth)
    berth.until(lambda: delivered(berth) == MANY)
    harbour.storage.calls.clear()
    write(berth.run.output / "pictures" / "samples" / names[0], "another")
    berth.until(lambda: harbour.content(f"samples/{names[0]}") == b"another")
    asked = [call for call, key in harbour.storage.calls if key.endswith(names[0])]
    assert asked[:2] == ["info", "put"]


def test_more_is_lined_up_than_lanes_carry_at_once(harbour: Harbour) -> None:
    berth = berth_at(harbour)
    berth.executors[Lane.SMALL].held = True
    fill(berth, 40)
    berth.until(lambda: bool(hold_of(berth).flight.paths))
    assert len(hold_of(berth).flight.paths) == harbour.settings.concurrency * LINED_UP
