"""What must not be trained on is put beside the dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from handler.rewrite import put_in_place
from handler.stage import read_tree
from handler.stage.beside import Move, put_back

if TYPE_CHECKING:
    from handler.rewrite import Rewritten
    from shared.layout import SessionFolder
    from tests.unit.handler.rewrite.conftest import Rewrites


def with_datasets(*datasets: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"job": "extension", "config": {"name": "x", "process": [{"type": "t", "datasets": list(datasets), **keys}]}}


def process(rewritten: Rewritten) -> Any:
    return rewritten.config["config"]["process"][0]


KEYS = ["control_path", "mask_path", "inpaint_path", "unconditional_path", "clip_image_path", "control_path_2"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("folder", ["/d/set", "/elsewhere"])
def test_a_flat_folder_inside_the_training_folder_leaves_it(
    rewrites: Rewrites, session: SessionFolder, key: str, folder: str
) -> None:
    rewritten = rewrites(with_datasets({"folder_path": folder, key: "/d/set/side"}), ["1.jpg", "side/1.jpg"], "set")
    assert rewritten.moves == (Move("side", "1/side"),)
    assert process(rewritten)["datasets"] == [
        {"folder_path": str(session.dataset), key: f"{session.dataset}-beside/1/side"}
    ]


def test_a_folder_beside_the_training_folder_stays(rewrites: Rewrites) -> None:
    paths = ["images/1.jpg", "control/1.jpg"]
    assert rewrites(with_datasets({"folder_path": "/d/images", "control_path": "/d/control"}), paths).moves == ()


def test_the_training_folder_itself_stays_where_it_is_its_own_control(rewrites: Rewrites) -> None:
    assert rewrites(with_datasets({"folder_path": "/d/a", "control_path": "/d/a"}), ["a/1.jpg"]).moves == ()


def test_a_control_folder_around_the_training_folder_stays(rewrites: Rewrites, session: SessionFolder) -> None:
    rewritten = rewrites(
        with_datasets({"folder_path": "/d/all/images", "control_path": "/d/all"}), ["all/images/1.jpg", "all/1.jpg"]
    )
    assert rewritten.moves == ()
    assert process(rewritten)["datasets"][0]["control_path"] == f"{session.dataset}/all"


def test_everything_below_a_folder_goes_along(rewrites: Rewrites, session: SessionFolder) -> None:
    config = with_datasets(
        {"folder_path": "/d", "control_path": ["/d/side", "/d/side/depth"]},
        {"folder_path": "/d/side/more", "mask_path": "/d/side/more/mask"},
        sample={"prompts": ["x --ctrl_img /d/side/1.jpg"]},
    )
    paths = ["1.jpg", "side/1.jpg", "side/depth/1.jpg", "side/more/1.jpg", "side/more/mask/1.jpg"]
    rewritten = rewrites(config, paths, "d")
    beside = f"{session.dataset}-beside"
    # What lies deepest goes first, so that nothing is carried along that has a place of its own.
    assert [move.source for move in rewritten.moves] == ["side/more/mask", "side/depth", "side"]
    assert process(rewritten)["datasets"] == [
        {"folder_path": str(session.dataset), "control_path": [f"{beside}/1/side", f"{beside}/2/depth"]},
        {"folder_path": f"{beside}/1/side/more", "mask_path": f"{beside}/3/mask"},
    ]
    assert process(rewritten)["sample"]["prompts"] == [f"x --ctrl_img {beside}/1/side/1.jpg"]


def test_a_sample_picture_is_not_trained_on(rewrites: Rewrites, session: SessionFolder) -> None:
    config = with_datasets({"folder_path": "/path/to/images"}, sample={"samples": [{"ctrl_img": "/path/to/test.png"}]})
    rewritten = rewrites(config, ["1.jpg", "1.txt", "test.png"])
    assert rewritten.moves == (Move("test.png", "1/test.png"),)
    assert process(rewritten)["sample"]["samples"] == [{"ctrl_img": f"{session.dataset}-beside/1/test.png"}]


@pytest.mark.parametrize("image", ["/path/to/images/2.png", "/path/to/1.jpg"])
def test_a_training_picture_that_is_sampled_too_stays(rewrites: Rewrites, image: str) -> None:
    config = with_datasets({"folder_path": "/path/to/images"}, sample={"samples": [{"ctrl_img": image}]})
    assert rewrites(config, ["1.jpg", "1.txt", "2.png"]).moves == ()


def test_moves_are_done_and_undone_as_often_as_one_likes(rewrites: Rewrites, session: SessionFolder) -> None:
    paths = {"1.jpg", "side/1.jpg", "side/deep/2.jpg", "test.png"}
    for path in paths:
        file = session.dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    config = with_datasets(
        {"folder_path": "/d", "control_path": "/d/side", "mask_path": "/d/side/deep"},
        sample={"samples": [{"ctrl_img": "/x/test.png"}]},
    )
    rewritten = rewrites(config, paths, "d")
    for _ in range(2):
        put_in_place(rewritten)
        put_in_place(rewritten)
        assert read_tree(session.dataset).files == {"1.jpg"}
        dataset = process(rewritten)["datasets"][0]
        for folder, name in ((dataset["control_path"], "1.jpg"), (dataset["mask_path"], "2.jpg")):
            assert Path(folder, name).read_text().endswith(name)
        put_back(session.dataset)
        put_back(session.dataset)
        assert read_tree(session.dataset).files == paths


def test_moves_that_a_crash_cut_short_are_undone(rewrites: Rewrites, session: SessionFolder) -> None:
    paths = {"1.jpg", "a/1.jpg", "b/1.jpg"}
    for path in paths:
        file = session.dataset / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    config = with_datasets({"folder_path": "/d", "control_path": ["/d/a", "/d/b"]})
    put_in_place(rewrites(config, paths, "d"))
    (session.path / "dataset-beside" / "2" / "b").rename(session.dataset / "b")
    put_back(session.dataset)
    assert read_tree(session.dataset).files == paths
