"""Listing, staging and reading by the handler's own code, while the exchanges go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.contract.bucket import Status
from shared.contract.session import Phase
from shared.errors import ErrorCode
from shared.storage import listing
from shared.storage.errors import StorageError
from tests.conformance.transfers import put
from tests.scenario.faults.ground import OUTPUTS, PICTURES, Ground, found, staged
from tests.scenario.faults.mishaps import HARMLESS, Mishap, Place, at

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from shared.storage.client import Storage

LISTING = Place("POST", "/object/list-v2/", request=10, answer=100)
DOWNLOAD = Place("GET", "/object/authenticated/datasets/", request=None, answer=200_000)
DOCUMENT = Place("GET", "/object/authenticated/outputs/.*/status.json", request=None, answer=50)
# Each attempt brings a part, with which the next one goes on.
BY_PARTS = frozenset({"cut in the answer", "stalled in the answer"})
# A reset may throw away what had arrived, or not.
PERHAPS = frozenset({"reset in the answer"})
TWICE = 2


def cases(*places: Place, but: frozenset[str] = frozenset(), only: frozenset[str] | None = None) -> list[ParameterSet]:
    """Return each place with each mishap that can happen there."""
    names = {LISTING: "listing", DOWNLOAD: "download", DOCUMENT: "document"}
    return [
        pytest.param(place, mishap, id=f"{names[place]}-{mishap.name}")
        for place in places
        for mishap in at(place)
        if mishap.name not in but and (only is None or mishap.name in only)
    ]


@pytest.fixture(autouse=True)
def two_to_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the dataset listed in more than one page."""
    monkeypatch.setattr(listing, "PAGE", 2)


def attempted(storage: Storage, target: Path) -> dict[str, bytes] | StorageError:
    """Return what was staged, or why nothing was."""
    try:
        return staged(storage, target, attempts=2)
    except StorageError as error:
        return error


def told(error: StorageError, mishap: Mishap) -> bool:
    """Return whether the error is the one that a person can act on."""
    return error.code is ErrorCode.STORAGE_UNREACHABLE and mishap.says in error.sentence


def check_nothing_torn(target: Path) -> None:
    """Fail where a file of the dataset is there and not whole."""
    for path in target.iterdir() if target.exists() else ():
        assert path.read_bytes() == PICTURES[path.name]


@pytest.mark.guarantee("whole", fault="the listing or the download of the dataset is cut, reset, stalled or refused")
@pytest.mark.parametrize(("place", "mishap"), cases(LISTING, DOWNLOAD))
def test_a_dataset_is_staged_bit_for_bit_though_it_goes_wrong_twice(
    ground: Ground, root: Path, place: Place, mishap: Mishap
) -> None:
    # The second page of the listing, or the second picture, is the first to be hit.
    fault = mishap.fault(place, TWICE).model_copy(update={"skip": 1})
    number = ground.rig.faults.add(fault)
    assert staged(ground.client(mishap), root / "dataset") == PICTURES
    assert ground.rig.faults.hits(number)


@pytest.mark.guarantee("told", fault="the dataset cannot be listed or downloaded")
@pytest.mark.parametrize(("place", "mishap"), cases(LISTING, but=HARMLESS) + cases(DOWNLOAD, but=HARMLESS | BY_PARTS))
def test_a_dataset_that_cannot_be_had_is_told_and_staged_when_it_can(
    ground: Ground, root: Path, place: Place, mishap: Mishap
) -> None:
    target = root / "dataset"
    ground.rig.faults.add(mishap.fault(place, None))
    result = attempted(ground.client(mishap), target)
    assert told(result, mishap) if isinstance(result, StorageError) else mishap.name in PERHAPS
    check_nothing_torn(target)
    ground.rig.faults.clear()
    assert staged(ground.client(mishap), target) == PICTURES


@pytest.mark.guarantee("whole", fault="each download of the dataset breaks off in the middle")
@pytest.mark.parametrize(("place", "mishap"), cases(DOWNLOAD, only=BY_PARTS))
def test_a_dataset_that_comes_by_parts_is_staged_bit_for_bit(
    ground: Ground, root: Path, place: Place, mishap: Mishap
) -> None:
    number = ground.rig.faults.add(mishap.fault(place, None))
    assert staged(ground.client(mishap), root / "dataset") == PICTURES
    assert ground.rig.faults.hits(number) > len(PICTURES)


@pytest.fixture
def status(ground: Ground, prefix: str) -> Status:
    """What an earlier run has left."""
    left = Status(session_id="earlier", worker="other", epoch=1, counter=7, at=1.0, phase=Phase.TRAINING)
    put(ground.direct, OUTPUTS, f"{prefix}/tabby/status.json", left.dump())
    return left


@pytest.mark.guarantee("trained-once", fault="what an earlier run left can only be read at the third attempt")
@pytest.mark.parametrize(("place", "mishap"), cases(DOCUMENT))
def test_a_document_is_read_whole_though_it_goes_wrong_twice(
    ground: Ground, root: Path, prefix: str, status: Status, place: Place, mishap: Mishap
) -> None:
    number = ground.rig.faults.add(mishap.fault(place, TWICE))
    assert found(root, ground.client(mishap), prefix) == status
    assert ground.rig.faults.hits(number)


@pytest.mark.guarantee("trained-once", fault="what an earlier run left cannot be read at all")
@pytest.mark.parametrize(("place", "mishap"), cases(DOCUMENT, but=HARMLESS))
def test_a_document_that_cannot_be_read_is_told_and_never_taken_for_absent(
    ground: Ground, root: Path, prefix: str, status: Status, place: Place, mishap: Mishap
) -> None:
    ground.rig.faults.add(mishap.fault(place, None))
    with pytest.raises(StorageError) as caught:
        found(root, ground.client(mishap), prefix)
    assert told(caught.value, mishap)
