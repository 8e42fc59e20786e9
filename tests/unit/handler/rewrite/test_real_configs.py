"""Whole configurations, as people send them: with a dataset that suits and with one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from handler.config import dump_config, parse_config
from handler.rewrite import required_inputs
from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.layout import SessionFolder
    from tests.unit.handler.rewrite.conftest import Rewrites

CONFIGS = Path(__file__).parent / "configs"

PICTURES = ["1.jpg", "1.txt", "2.png", "2.txt"]
SUITING = {
    "adapter.yaml": [
        *(f"images/{path}" for path in PICTURES),
        "references/1.jpg",
        "masks/1.png",
        "test/a.png",
        "test/b.png",
    ],
    "control.yaml": [*PICTURES, "control/1.jpg", "masks/1.png", "test/a.png"],
    "video.yaml": ["clips/1.mp4", "clips/1.txt", "stills/1.jpg"],
    "slider.yaml": [],
}
NOT_SUITING = ["notes.txt", "elsewhere/readme.md"]
MODEL_KEYS = ("name_or_path", "qtype", "image_encoder_path")


def text_of(name: str) -> str:
    return (CONFIGS / name).read_text("utf-8")


def scalars(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from scalars(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from scalars(item, f"{place}[{index}]")
    else:
        yield place, value


@pytest.mark.parametrize("name", SUITING)
def test_with_a_dataset_that_suits(rewrites: Rewrites, session: SessionFolder, name: str) -> None:
    text = text_of(name)
    rewritten = rewrites(text, SUITING[name])
    before, after = dict(scalars(yaml.safe_load(text))), dict(scalars(yaml.safe_load(dump_config(rewritten.config))))
    assert before.keys() == after.keys()
    changed = {place for place in before if before[place] != after[place]}
    assert any(place.endswith("training_folder") for place in changed)
    for place in changed - {place for place in changed if place.endswith(".type")}:
        assert f"{session.path}/" in after[place]
        assert "/path/to" not in after[place]
    for place in after.keys() - changed:
        outside = isinstance(after[place], str) and after[place].startswith("/")
        assert not outside or place.endswith(MODEL_KEYS)


@pytest.mark.parametrize("name", SUITING)
def test_with_a_dataset_that_does_not(rewrites: Rewrites, name: str) -> None:
    config = parse_config(text_of(name))
    if not required_inputs(config):
        return
    with pytest.raises(FerryError) as caught:
        rewrites(config, NOT_SUITING)
    assert caught.value.code in {ErrorCode.INVALID_CONFIG, ErrorCode.DATASET_EMPTY}
    assert "config.process[0].datasets[0]." in caught.value.sentence
    assert "notes.txt" in caught.value.sentence


def test_only_sliders_need_no_dataset() -> None:
    assert [name for name in SUITING if not required_inputs(parse_config(text_of(name)))] == ["slider.yaml"]


def test_no_configuration_is_left_out() -> None:
    assert {path.name for path in CONFIGS.iterdir()} == set(SUITING)
