"""Captions and control images that are missing are told of before GPU time is spent, and so is what nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from tests.unit.handler.rewrite.conftest import Rewrites

HERE = "config.process[0].datasets[0].folder_path (cats)"


def process(*datasets: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {
        "config": {"name": "x", "process": [{"type": "sd_trainer", "datasets": list(datasets), **keys}]},
        "job": "x",
    }


def cats(**keys: Any) -> dict[str, Any]:
    return process({"folder_path": "/d/cats", **keys})


CAPTIONED = ["cats/1.jpg", "cats/1.txt", "cats/deep/2.PNG", "cats/deep/2.txt"]


def test_where_every_picture_has_its_caption_there_is_nothing_to_say(rewrites: Rewrites) -> None:
    assert rewrites(cats(), CAPTIONED).warnings == ()
    assert rewrites(cats(caption_ext="txt"), CAPTIONED).warnings == ()


def test_some_captions_are_missing(rewrites: Rewrites) -> None:
    [warning] = rewrites(cats(), [*CAPTIONED, "cats/3.jpg", "cats/4.webp"]).warnings
    assert warning == f"{HERE}: 2 of 4 files have no caption (.txt), such as 3.jpg"


def test_all_captions_are_missing_or_end_otherwise(rewrites: Rewrites) -> None:
    [warning] = rewrites(cats(), ["cats/1.jpg"]).warnings
    assert warning == f"{HERE}: none of its files has a caption (.txt), so that it is trained without words"
    [hint] = rewrites(cats(), ["cats/1.jpg", "cats/1.caption"]).warnings
    assert hint.endswith("; there are captions that end with .caption: set caption_ext to caption")


@pytest.mark.parametrize("words", [{"default_caption": "a cat"}, {"trigger_word": "c4t"}])
def test_words_for_all_of_them_are_enough(rewrites: Rewrites, words: dict[str, str]) -> None:
    assert rewrites(cats(**words), ["cats/1.jpg"]).warnings == ()


def test_a_trigger_of_the_process_is_enough_for_all_but_does_not_excuse_some(rewrites: Rewrites) -> None:
    config = process({"folder_path": "/d/cats"}, trigger_word="c4t")
    assert rewrites(config, ["cats/1.jpg"]).warnings == ()
    assert "1 of 3 files" in rewrites(config, [*CAPTIONED, "cats/3.jpg"]).warnings[0]


def test_captions_in_a_json_dataset_are_its_own(rewrites: Rewrites, session: Any) -> None:
    session.dataset.mkdir(parents=True)
    (session.dataset / "all.json").write_text('{"1.jpg": {"caption": "a cat"}}')
    assert rewrites(process({"dataset_path": "/d/all.json"}), ["1.jpg", "all.json"]).warnings == ()


def test_control_images_are_missing(rewrites: Rewrites) -> None:
    controls = ["before/1.png", "masks/1.jpg", "masks/2.jpg"]
    assert rewrites(cats(control_path="/d/masks"), [*CAPTIONED, *controls]).warnings == ()
    for keys in ({"control_path": ["/d/before", "/d/masks"]}, {"control_path_1": "/d/before", "control_path_2": None}):
        [warning] = rewrites(cats(**keys), [*CAPTIONED, *controls]).warnings
        assert warning == f"{HERE}: 1 of 2 files have no control image in before, such as 2.PNG"


def test_control_images_inside_of_the_dataset_are_not_trained_on(rewrites: Rewrites) -> None:
    paths = ["1.jpg", "1.txt", "before/1.jpg"]
    assert rewrites(process({"folder_path": "/d", "control_path": "/d/before"}), paths, "d").warnings == ()


def test_videos_where_only_pictures_are_read(rewrites: Rewrites) -> None:
    clips = ["cats/1.mp4", "cats/1.txt"]
    with pytest.raises(FerryError) as caught:
        rewrites(cats(num_frames=1), clips)
    assert caught.value.code is ErrorCode.DATASET_EMPTY
    assert f"{HERE} holds only videos, which ai-toolkit reads where num_frames is above 1" in caught.value.sentence
    for keys in ({"num_frames": 41}, {"auto_frame_count": True}):
        assert rewrites(cats(**keys), clips).warnings == ()
    assert rewrites(cats(), [*clips, "cats/2.jpg", "cats/2.txt"]).warnings == ()
