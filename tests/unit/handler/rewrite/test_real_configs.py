"""ai-toolkit's example configurations, as people paste them: with a dataset that suits and with one that does not."""

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

EXAMPLES = Path(__file__).parents[4].parent / "shared" / "data" / "configs"
OWN = Path(__file__).parent / "configs"

PICTURES = ["1.jpg", "1.txt", "2.png", "2.txt"]
SUITING = {
    "train_flex_redux.yaml": [
        *(f"images/folder/{path}" for path in PICTURES),
        "control/images/folder/1.jpg",
        *(f"samples/x_{number:02}.jpg" for number in range(1, 11)),
    ],
    "train_lora_flux_24gb.yaml": PICTURES,
    "train_lora_flux_kontext_24gb.yaml": [*PICTURES, "control/folder/person1.jpg", "control/folder/1.jpg"],
    "train_lora_qwen_image_edit_2509_32gb.yaml": [
        *PICTURES,
        *(f"control/images/folder{number}/1.jpg" for number in (1, 2, 3)),
        "image1.png",
        "image2.png",
    ],
    "train_lora_wan22_14b_24gb.yaml": ["deep/video.mp4", "deep/video.txt", *PICTURES],
    "train_slider.example.yml": [],
    "control.yaml": [*PICTURES, "control/1.jpg", "masks/1.png", "test/a.png"],
    "video.yaml": ["clips/1.mp4", "clips/1.txt", "stills/1.jpg"],
    "slider.yaml": [],
}
NOT_SUITING = ["notes.txt", "elsewhere/readme.md"]
MODEL_KEYS = ("name_or_path", "qtype", "image_encoder_path")


def configurations() -> list[Path]:
    return [OWN / name if (OWN / name).exists() else EXAMPLES / name for name in SUITING]


def text_of(path: Path) -> str:
    if not path.exists():
        pytest.skip(f"ai-toolkit's example {path.name} is not at {EXAMPLES}")
    return path.read_text("utf-8")


def scalars(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from scalars(item, f"{place}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from scalars(item, f"{place}[{index}]")
    else:
        yield place, value


@pytest.mark.parametrize("path", configurations(), ids=lambda path: path.name)
def test_with_a_dataset_that_suits(rewrites: Rewrites, session: SessionFolder, path: Path) -> None:
    text = text_of(path)
    rewritten = rewrites(text, SUITING[path.name])
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


@pytest.mark.parametrize("path", configurations(), ids=lambda path: path.name)
def test_with_a_dataset_that_does_not(rewrites: Rewrites, path: Path) -> None:
    config = parse_config(text_of(path))
    if not required_inputs(config):
        return
    with pytest.raises(FerryError) as caught:
        rewrites(config, NOT_SUITING)
    assert caught.value.code in {ErrorCode.INVALID_CONFIG, ErrorCode.DATASET_EMPTY}
    assert "config.process[0].datasets[0]." in caught.value.sentence
    assert "notes.txt" in caught.value.sentence


def test_only_sliders_need_no_dataset() -> None:
    names = {path.name for path in configurations() if not required_inputs(parse_config(text_of(path)))}
    assert names == {"train_slider.example.yml", "slider.yaml"}


def test_the_example_that_is_broken() -> None:
    with pytest.raises(FerryError, match="line 65, column 16") as caught:
        parse_config(text_of(EXAMPLES / "train_lora_omnigen2_24gb.yaml"))
    assert caught.value.code is ErrorCode.INVALID_CONFIG
