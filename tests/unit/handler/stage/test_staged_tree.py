"""What a staged dataset holds, read from the disk or told."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
