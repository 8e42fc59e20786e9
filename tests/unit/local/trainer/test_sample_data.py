"""The sample data set and its job: what is promised of them, and that they train."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from local.trainer.ferry_trainer.config import ConfigLoader
from tests.unit.local.trainer.bench import Bench

SAMPLE = Path(__file__).parents[4] / "local" / "sample"
PICTURES = sorted((SAMPLE / "dataset").rglob("*.jpg"))


def test_the_job_holds_the_readable_configuration() -> None:
    assert json.loads((SAMPLE / "job.json").read_text()) == {
        "config": (SAMPLE / "config.yaml").read_text(),
        "dataset_config": {"bucket_name": "training-datasets", "folder_path": "photographs"},
        "upload_config": {"bucket_name": "training-outputs", "folder_path": "demo"},
    }


def test_there_are_enough_pictures_and_some_are_nested() -> None:
    assert 6 <= len(PICTURES) <= 10
    assert any(path.parent != SAMPLE / "dataset" for path in PICTURES)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_each_picture_is_small_has_a_caption_and_a_licence(path: Path) -> None:
    assert path.stat().st_size <= 60_000
    with Image.open(path) as picture:
        assert 256 <= min(picture.size) <= max(picture.size) <= 384
    assert path.with_suffix(".txt").read_text().strip()
    (row,) = [line for line in licences() if f"`{path.relative_to(SAMPLE / 'dataset')}`" in line]
    assert row.rstrip(" |").split("| ")[-1] in ("CC0", "public domain")


def test_licences_name_nothing_that_is_not_there() -> None:
    assert sum(".jpg`" in line for line in licences()) == len(PICTURES)


def test_the_job_trains_and_its_samples_come_nearer_to_the_photographs(bench: Bench) -> None:
    settings: dict[str, Any] = ConfigLoader((SAMPLE / "config.yaml").read_text()).get_single_data()
    (process,) = settings["config"]["process"]
    assert process["datasets"][0]["folder_path"] == "/workspace/datasets/photographs"
    data = bench.folder / "photographs"
    copy_pictures(data)
    process["datasets"][0]["folder_path"] = str(data)
    process["training_folder"] = str(bench.folder / "output")
    process["ferry"] = {"pad_final_mb": process["ferry"]["pad_final_mb"]}

    ended = bench.run(settings)
    assert ended.code == 0, ended.stderr
    folder = bench.folder / "output" / "photographs_lora"
    saved = [line for line in ended.lines if line.startswith("Saved checkpoint to")]
    assert len(saved) >= 5
    sizes = sorted(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert sizes[0] > 2_000_000
    # Above 6 MiB the uploader takes the resumable way.
    assert sizes[-2] < 6 * 1024**2 < sizes[-1]
    steps = sorted({int(path.name.split("_")[2]) for path in (folder / "samples").glob("*.jpg")})
    assert 4 <= len(steps) <= 7
    for number, name in enumerate(("cat", "coffee", "rocket")):
        first, last = (distance(folder, step, number, data / f"{name}.jpg") for step in (steps[0], steps[-1]))
        assert last < first / 3, name


def licences() -> list[str]:
    return (SAMPLE / "LICENSES.md").read_text().splitlines()


def copy_pictures(target: Path) -> None:
    """A copy, because the trainer writes into the folder."""
    for path in (*PICTURES, *(picture.with_suffix(".txt") for picture in PICTURES)):
        copy = target / path.relative_to(SAMPLE / "dataset")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


def distance(folder: Path, step: int, number: int, picture: Path) -> float:
    (sample,) = (folder / "samples").glob(f"*__{step:09d}_{number}.jpg")
    size = (64, 64)
    first, second = (np.asarray(Image.open(path).convert("RGB").resize(size), np.float64) for path in (sample, picture))
    return float(np.mean(np.square(first - second)))
