from __future__ import annotations

import threading

import pytest

from tests.unit.uploader.harbour import Inline
from uploader.lanes import LARGE_LANES, LINED_UP, Desk, Lane, Lanes


def test_small_files_are_lined_up_and_large_ones_are_not() -> None:
    gate = threading.Event()
    lanes = Lanes(2, lambda: None)
    assert (lanes.free(Lane.SMALL), lanes.free(Lane.LARGE)) == (2 * LINED_UP, 2)
    future = lanes.submit(Lane.SMALL, lambda: gate.wait(10))
    assert lanes.free(Lane.SMALL) == 2 * LINED_UP - 1
    assert lanes.free(Lane.LARGE) == 2
    gate.set()
    assert future.result(10)
    lanes.close()


def test_whoever_waits_is_woken_when_a_lane_has_nothing_more_lined_up() -> None:
    woken: list[int] = []
    executor = Inline()
    executor.held = True
    lanes = Lanes(2, lambda: woken.append(1), lambda _width, _name: executor)
    for _ in range(4):
        lanes.submit(Lane.SMALL, lambda: woken.append(0))
    executor.release()
    # The first one leaves three behind, of which two are being worked on.
    assert woken == [0, 0, 1, 0, 1, 0, 1]


def test_large_files_share_few_lanes() -> None:
    lanes = Lanes(16, lambda: None)
    assert lanes.free(Lane.LARGE) == LARGE_LANES
    # One for proofs, two for documents, one for signs of life, and one for a look at the claim in the middle of any.
    assert lanes.width == 16 + LARGE_LANES + 1 + 2 + 1 + 1
    lanes.close()


def test_a_lane_is_free_again_after_a_defect() -> None:
    lanes = Lanes(1, lambda: None)

    def defect() -> None:
        raise KeyError

    future = lanes.submit(Lane.SMALL, defect)
    with pytest.raises(KeyError):
        future.result(10)
    lanes.submit(Lane.SMALL, lambda: None).result(10)
    lanes.close()


def test_a_desk_takes_one_piece_of_work_at_a_time_and_tells_its_result_once() -> None:
    gate, done = threading.Event(), threading.Event()
    lanes = Lanes(1, done.set)
    desk: Desk[bool] = Desk(lanes)
    desk.start(lambda: gate.wait(10))
    assert desk.busy
    assert desk.take() is None
    gate.set()
    assert done.wait(10)
    future = desk.take()
    assert future is not None
    assert future.result()
    assert [desk.busy, desk.take()] == [False, None]
    lanes.close()
