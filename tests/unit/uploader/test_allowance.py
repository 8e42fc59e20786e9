from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploader.allowance import PATIENCE_SECONDS, Kept, Stock, fits, is_at_risk, stock_of, to_free
from uploader.disk import Space
from uploader.kinds import Kind
from uploader.rows import Row
from uploader.scan import Version
from uploader.settle import Proof
from uploader.states import State

ROW = Row(
    path="pictures/pictures.safetensors",
    kind=Kind.CHECKPOINT,
    key="checkpoints/pictures.safetensors",
    state=State.READY,
    proof=Proof.SAVED,
    version=Version(10, 1_000_000_000, 7),
    sha256=None,
    step=None,
    source=None,
    upload_url=None,
    attempts=0,
    next_try=0.0,
    error=None,
    first_seen=1000.0,
    stored=None,
)


def kept(number: int, size: int = 10, *, spare: bool = False, flying: bool = False) -> Kept:
    row = replace(ROW, path=f"{number}.pt", version=Version(size, number, number), first_seen=1000.0 + number)
    return Kept(row, spare=spare, flying=flying)


def freed(files: list[Kept], over: int, *, only_if_enough: bool = False) -> list[str]:
    return [one.row.path for one in to_free(files, over, only_if_enough=only_if_enough)]


def test_the_oldest_goes_first_and_no_more_than_needed() -> None:
    files = [kept(3), kept(1), kept(2)]
    assert freed(files, 0) == []
    assert freed(files, 1) == ["1.pt"]
    assert freed(files, 11) == ["1.pt", "2.pt"]
    assert freed(files, 99) == ["1.pt", "2.pt", "3.pt"]


def test_copies_of_what_is_still_there_go_before_anything_is_lost_the_newest_first() -> None:
    files = [kept(1), kept(2, spare=True), kept(3, spare=True)]
    assert freed(files, 15) == ["3.pt", "2.pt"]
    assert freed(files, 25) == ["3.pt", "2.pt", "1.pt"]


def test_while_an_older_one_is_under_way_the_newest_stays() -> None:
    assert freed([kept(1, flying=True), kept(2), kept(3)], 99) == ["2.pt"]
    assert freed([kept(1, flying=True), kept(2)], 99) == []


def test_nothing_is_lost_for_a_disk_that_would_lack_room_all_the_same() -> None:
    files = [kept(1), kept(2, spare=True)]
    assert freed(files, 20, only_if_enough=True) == ["2.pt", "1.pt"]
    assert freed(files, 21, only_if_enough=True) == ["2.pt"]


files = st.lists(
    st.builds(kept, st.integers(1, 9), st.integers(0, 50), spare=st.booleans(), flying=st.booleans()),
    unique_by=lambda one: one.row.path,
)


@given(files, st.integers(-10, 300))
def test_what_is_freed_is_idle_and_as_little_as_the_order_allows(some: list[Kept], over: int) -> None:
    gone = list(to_free(some, over, only_if_enough=False))
    assert not any(one.flying for one in gone)
    assert len({one.row.path for one in gone}) == len(gone)
    assert sum(one.bytes for one in gone[:-1]) < max(over, 1)
    lost = [one for one in gone if not one.spare]
    if lost:
        assert all(one in gone for one in some if one.spare and not one.flying)
        left = [one for one in some if one not in gone and not one.spare and not one.flying]
        assert all(one.row.first_seen > lost[-1].row.first_seen for one in left)


@pytest.mark.parametrize(
    ("step", "others", "waited", "risk"),
    [
        (4, [4, 4], 0.0, False),
        (4, [4, 8], 0.0, True),
        (8, [4, 8], 0.0, False),
        (None, [4, 8], 0.0, False),
        (4, [None], 0.0, False),
        (None, [], PATIENCE_SECONDS, True),
    ],
)
def test_what_is_worth_a_copy_ahead(step: int | None, others: list[int | None], waited: float, *, risk: bool) -> None:
    waiting = [replace(ROW, step=other) for other in others]
    assert is_at_risk(replace(ROW, step=step), waiting, ROW.first_seen + waited) is risk


def test_a_copy_fits_within_the_limit_and_beside_the_trainers_next_checkpoint() -> None:
    roomy = Space(free=100 << 30, total=200 << 30)
    assert fits(Stock(50, 20), 50, 100, roomy)
    assert not fits(Stock(51, 20), 50, 100, roomy)
    assert not fits(Stock(), 50 << 30, 1 << 50, roomy)
    assert fits(Stock(), 40 << 30, 1 << 50, roomy)
    assert stock_of([3, 5, 4]) + stock_of([]) == Stock(12, 5)
