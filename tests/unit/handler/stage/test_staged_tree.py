"""What a staged dataset holds, read from the disk or told."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from handler.stage import StagedTree, read_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_trainer_passes_over_is_left_out(tmp_path: Path) -> None:
    for path in ("1.jpg", "deep/er/2.jpg", ".hidden.jpg", ".thumbs/3.jpg", "deep/.tmp/4.jpg"):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "empty").mkdir()
    tree = read_tree(tmp_path, "cats")
    assert tree == StagedTree.of(tmp_path, ["deep/er/2.jpg", "1.jpg"], "cats")
    assert tree.folders == {"deep", "deep/er"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.jpg").touch()
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "link").symlink_to(tmp_path / "elsewhere")
    assert read_tree(tmp_path / "dataset").files == frozenset()


@pytest.mark.parametrize(("number", "times"), [(errno.EIO, 2), (errno.ESTALE, 1)])
def test_a_folder_that_the_disk_hides_for_a_moment_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, times: int
) -> None:
    hidden = hide(monkeypatch, number, times)
    for path in ("1.jpg", "deep/2.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    paused: list[float] = []
    assert read_tree(tmp_path, sleep=paused.append).files == {"1.jpg", "deep/2.jpg"}
    assert len(paused) == times
    assert not hidden


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, errno.EACCES, 1)
    (tmp_path / "deep").mkdir()
    with pytest.raises(PermissionError):
        read_tree(tmp_path)


def hide(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[OSError]:
    """Have the disk refuse a folder called ``deep`` so often; return what is still to be raised."""
    errors = [OSError(number, os.strerror(number)) for _ in range(times)]
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("deep") and errors:
            raise errors.pop()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return errors


def test_a_description_is_short(tmp_path: Path) -> None:
    tree = StagedTree.of(tmp_path, [f"{number:03}/a/{number}.jpg" for number in range(100)])
    assert tree.description().startswith("The staged dataset holds the folders 000, 001, ")
    assert tree.description().endswith("and 88 more")
    assert len(tree.description()) < 400
    assert (
        StagedTree.of(tmp_path, ["1.jpg"]).description()
        == "The staged dataset holds the folders (none) and the files 1.jpg"
    )
    assert StagedTree.of(tmp_path, []).description() == "The staged dataset is empty"
