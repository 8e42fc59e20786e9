"""Two runs in one bucket: side by side, one below the other, and never one among the objects of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from handler.neighbours import RUN_FOLDERS, check_place
from shared.errors import ErrorCode, FerryError
from tests.unit.handler.crew import FakeStorage
from uploader.kinds import OUTPUT_FOLDERS

if TYPE_CHECKING:
    from shared.storage.client import Storage


def place(prefix: str, *runs: str, more: tuple[str, ...] = ()) -> FakeStorage:
    """Look whether ``prefix`` may be a run's place in a bucket that holds ``runs`` and the objects ``more``."""
    storage = FakeStorage()
    storage.objects = dict.fromkeys((f"{run}/claims/1.json" for run in runs), b"{}") | dict.fromkeys(more, b"x")
    check_place(cast("Storage", storage), "outputs", prefix)
    return storage


def refused(prefix: str, *runs: str) -> str:
    with pytest.raises(FerryError) as error:
        place(prefix, *runs)
    assert error.value.code is ErrorCode.INVALID_INPUT
    return error.value.sentence


def test_every_folder_of_a_runs_objects_is_known() -> None:
    assert OUTPUT_FOLDERS < RUN_FOLDERS


@pytest.mark.guarantee("one-writer", fault="a run's place is chosen inside the folders of another run's results")
@pytest.mark.parametrize("folder", sorted(RUN_FOLDERS))
def test_a_place_among_another_runs_objects_is_refused(folder: str) -> None:
    assert f"leads into {folder}/ of the run whose results are at runs/1:" in refused(f"runs/1/{folder}/x", "runs/1")


@pytest.mark.guarantee("one-writer", fault="a run's place is chosen so that another run's lies inside its folders")
@pytest.mark.parametrize("folder", sorted(RUN_FOLDERS - {"claims"}))
@pytest.mark.parametrize("deeper", ["", "/a/b"])
def test_a_place_around_another_runs_is_refused(folder: str, deeper: str) -> None:
    told = refused("runs", f"runs/{folder}{deeper}")
    assert told.startswith(f"The results of another run are at runs/{folder}{deeper}, among what this one would write")


@pytest.mark.parametrize(
    ("prefix", "other"),
    [
        ("runs", "runs/cats"),
        ("runs/cats", "runs"),
        ("runs/cats", "runs/dogs"),
        ("runs", "runs/cats/samples"),
        ("runs/samples", "runs/cats"),
        ("run", "runs/samples"),
        ("runs/cats", "runs/cats"),
    ],
)
def test_runs_that_cannot_meet_may_lie_as_they_like(prefix: str, other: str) -> None:
    place(prefix, other)


def test_what_a_run_left_in_its_own_place_is_not_gone_through_again() -> None:
    storage = place("runs/cats", "runs/cats", more=("runs/cats/samples/1.jpg", "runs/cats/outputs/claims/1.json"))
    assert "walk" not in storage.calls
