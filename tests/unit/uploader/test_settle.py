from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploader.scan import Version
from uploader.settle import BROKEN_PATIENCE_SECONDS, Observation, Proof, is_torn, settle

DEBOUNCE = 3.0
SEEN = Observation(
    version=Version(10, 999_999_999_999, 1),
    changed=100.0,
    now=100.0,
    open_for_writing=None,
    saved_at=None,
    ended=False,
)


# Where files have their times in whole seconds, what is written within the same two may look the same.
COARSE = Version(10, 1_000_000_000_000, 1)


def quiet(seconds: float, **more: object) -> Observation:
    return replace(SEEN, now=SEEN.changed + seconds, **more)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("seen", "proof"),
    [
        (quiet(0), None),
        (quiet(2.9), None),
        (quiet(3), Proof.QUIET),
        (quiet(0, open_for_writing=False), Proof.CLOSED),
        (quiet(0, saved_at=1000.0), Proof.SAVED),
        (quiet(0, saved_at=999.0), Proof.SAVED),
        (quiet(0, saved_at=997.0), None),
        (quiet(0, ended=True), Proof.ENDED),
        (quiet(0, ended=True, whole=False), Proof.BROKEN),
        (quiet(3, whole=False), None),
        (quiet(0, whole=False, open_for_writing=False), None),
        (quiet(BROKEN_PATIENCE_SECONDS, whole=False), Proof.BROKEN),
        (quiet(BROKEN_PATIENCE_SECONDS, whole=False, open_for_writing=False), Proof.BROKEN),
        (quiet(0, whole=False, saved_at=1000.0), Proof.SAVED),
        (quiet(1.9, version=COARSE, open_for_writing=False), None),
        (quiet(2, version=COARSE, open_for_writing=False), Proof.CLOSED),
        (quiet(1.9, version=COARSE, saved_at=1000.0), None),
        (quiet(2, version=COARSE, saved_at=1000.0), Proof.SAVED),
        (quiet(0, version=COARSE, ended=True), Proof.ENDED),
    ],
)
def test_when_a_file_is_complete(seen: Observation, proof: Proof | None) -> None:
    assert settle(seen, DEBOUNCE) is proof


@given(
    st.floats(0, 1e6), st.booleans(), st.booleans(), st.one_of(st.none(), st.floats(0, 1e6)),
)  # fmt: skip
def test_a_file_that_is_open_is_never_complete(
    seconds: float, ended: bool, whole: bool, saved_at: float | None
) -> None:
    seen = quiet(seconds, open_for_writing=True, ended=ended, whole=whole, saved_at=saved_at)
    assert settle(seen, DEBOUNCE) is None


@pytest.mark.parametrize(
    ("proof", "checkpoint", "by_itself", "torn"),
    [
        (Proof.SAVED, True, False, False),
        (Proof.CLOSED, True, False, False),
        (Proof.ENDED, True, False, True),
        (Proof.ENDED, True, True, False),
        (Proof.ENDED, False, False, False),
        (Proof.BROKEN, True, True, True),
    ],
)
def test_what_is_torn(proof: Proof, *, checkpoint: bool, by_itself: bool, torn: bool) -> None:
    assert is_torn(proof, checkpoint=checkpoint, ended_by_itself=by_itself) is torn
