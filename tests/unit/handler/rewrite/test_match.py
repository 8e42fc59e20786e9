"""What a path of another machine means in the staged tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.rewrite.match import AmbiguousPathError, Matcher, components
from handler.stage import StagedTree


def matcher(*paths: str, name: str = "") -> Matcher:
    return Matcher(StagedTree.of(Path("/s/dataset"), paths, name))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/data/cats/images/", ("data", "cats", "images")),
        ("C:\\Users\\me\\cats", ("Users", "me", "cats")),
        ("./a/./b", ("a", "b")),
        ("../../a/../b", ("b",)),
        ("/", ()),
        (" images ", ("images",)),
    ],
)
def test_components(path: str, parts: tuple[str, ...]) -> None:
    assert components(path) == parts


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/data/cats/images", "images"),
        ("images", "images"),
        ("/data/old/images", "old/images"),
        ("/data/dogs/images", "images"),
        ("/data/cats", None),
        ("/data/Images", None),
        ("/", ""),
        (".", ""),
    ],
)
def test_folders(path: str, found: str | None) -> None:
    assert matcher("images/1.jpg", "old/images/1.jpg").folder(path) == found


def test_a_deep_folder_is_found_where_it_is_the_only_one() -> None:
    assert matcher("sets/cats/control/1.jpg").folder("/data/control") == "sets/cats/control"


def test_folders_that_fit_equally_well() -> None:
    with pytest.raises(AmbiguousPathError, match="a/x and b/x"):
        matcher("a/x/1.jpg", "b/x/1.jpg").folder("/data/x")


def test_the_datasets_own_name_is_its_root() -> None:
    named = matcher("images/1.jpg", "old/cats/images/1.jpg", name="cats")
    assert named.folder("/workspace/cats") == ""
    assert named.folder("/workspace/cats/images") == "images"
    assert matcher("cats/1.jpg", name="cats").folder("/workspace/cats/cats") == "cats"


def test_files() -> None:
    files = matcher("1.jpg", "control/1.jpg", "control/2.jpg")
    assert files.file("/x/control/1.jpg") == "control/1.jpg"
    assert files.file("/x/1.jpg") == "1.jpg"
    assert files.file("/x/2.jpg") == "control/2.jpg"
    assert files.file("/x/control") is None
    assert files.file("/") is None


segments = st.sampled_from(["a", "b", "images", "control"])
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sets(paths, min_size=1, max_size=8), st.data())
def test_a_staged_path_means_itself_wherever_it_lay(files: set[str], data: st.DataObject) -> None:
    wanted = data.draw(st.sampled_from(sorted(files)))
    assert matcher(*files).file(f"/some/where/else/{wanted}") == wanted
