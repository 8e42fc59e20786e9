"""That something is learnt: gradients are right, the loss falls, samples come nearer to the data."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from local.trainer.ferry_trainer.adam import Adam
from local.trainer.ferry_trainer.captions import Array, drop_words, embed, insert_trigger
from local.trainer.ferry_trainer.loader import schedule
from local.trainer.ferry_trainer.model import DOWN, UP, PictureModel
from tests.unit.local.trainer.bench import SIDE, Bench


def small_model() -> tuple[PictureModel, Array, Array]:
    """A model whose adapter has moved from its start, two captions and their pictures."""
    model = PictureModel(side=4, rank=3, alpha=3, halves=("",), seed=1)
    generator = np.random.default_rng(2)
    model.adapters[""][UP] += 1e-3 * generator.standard_normal(model.adapters[""][UP].shape, dtype=np.float32)
    return model, embed(["a red square", "blue sky"]), generator.uniform(-1, 1, (2, 48)).astype(np.float32)


@pytest.mark.parametrize("name", [DOWN, UP])
def test_gradients_are_the_slopes_of_the_loss(name: str) -> None:
    model, captions, pictures = small_model()

    def loss() -> float:
        error = model.predict(captions, model.noise) - pictures
        return float(np.mean(np.square(error), dtype=np.float64))

    gradient = model.gradients("", captions, model.predict(captions, model.noise) - pictures)[name]
    place = np.unravel_index(int(np.argmax(np.abs(gradient))), gradient.shape)
    weights, step = model.adapters[""][name], np.float32(1e-5)
    weights[place] += step
    above = loss()
    weights[place] -= 2 * step
    assert (above - loss()) / (2 * step) == pytest.approx(gradient[place], rel=0.05)


def test_adam_finds_the_bottom_and_goes_on_where_its_state_was_saved() -> None:
    weights = np.array([4.0, -3.0], np.float32)
    adam = Adam(lr=0.1)
    for _ in range(100):
        adam.step("w", weights, 2 * weights)
    restored, copy = Adam(lr=0.1), weights.copy()
    restored.load(adam.to_bytes(), {"w": (2,)})
    adam.step("w", weights, 2 * weights)
    restored.step("w", copy, 2 * copy)
    assert np.abs(weights).max() < 0.3
    assert np.array_equal(weights, copy)


def test_adam_refuses_a_state_for_other_weights() -> None:
    adam = Adam(lr=0.1)
    adam.step("w", np.ones(2, np.float32), np.ones(2, np.float32))
    with pytest.raises(ValueError, match="doesn't match the size"):
        Adam(lr=0.1).load(adam.to_bytes(), {"w": (3,)})


def test_captions_that_share_words_lie_nearer_to_each_other() -> None:
    cat, same, sky = embed(["a ginger cat", "the cat, ginger!", "a blue sky"])
    assert cat @ same == pytest.approx(cat @ cat)
    assert cat @ sky < 0.6 * (cat @ cat)


def test_words_are_left_out_at_the_rate_that_is_asked_for() -> None:
    caption = "one two " * 500
    kept = drop_words(caption, 0.3, np.random.default_rng(0)).split()
    assert 650 < len(kept) < 750
    assert drop_words(caption, 0, np.random.default_rng(0)) == caption


def test_the_trigger_word_is_put_in() -> None:
    assert insert_trigger("[trigger] smiles", "p3r5on", add=True) == "p3r5on smiles"
    assert insert_trigger("a smile", "p3r5on", add=True) == "p3r5on a smile"
    assert insert_trigger("a smile", "p3r5on", add=False) == "a smile"


def test_every_epoch_has_every_picture_once() -> None:
    tasks = schedule(5, 2, np.random.default_rng(3))
    epochs = [[next(tasks) for _ in range(3)] for _ in range(2)]
    for number, epoch in enumerate(epochs):
        assert {found for found, _ in epoch} == {number}
        assert sorted(index for _, indices in epoch for index in indices) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("arch", ["", "wan22_14b"])
def test_samples_come_nearer_to_the_data(bench: Bench, workers: int, arch: str) -> None:
    settings = bench.config(
        train={"steps": 90}, sample={"sample_every": 30, "prompts": ["red square", "blue sky"]}, model={"arch": arch}
    )
    settings["config"]["process"][0]["datasets"][0]["num_workers"] = workers
    assert bench.run(settings).code == 0
    data = [bench.data / "red square.png", bench.data / "nested" / "blue sky.png"]
    distances = {
        step: float(np.mean([distance(sample_of(bench, step, i), path) for i, path in enumerate(data)]))
        for step in (0, 30, 60, 90)
    }
    assert distances[0] > distances[30] > distances[90]
    assert distances[90] < distances[0] / 10


def test_a_resumed_run_begins_as_well_as_the_first_one_ended(bench: Bench) -> None:
    bench.run(bench.config(train={"steps": 90}))
    path = bench.data / "red square.png"
    learnt = distance(sample_of(bench, 90, 0), path)
    bench.run(bench.config(train={"steps": 92}))
    assert distance(sample_of(bench, 92, 0), path) < 1.5 * learnt + 1e-3


def test_control_pictures_take_the_place_of_the_noise(bench: Bench) -> None:
    control = bench.folder / "control"
    control.mkdir()
    for path in bench.data.rglob("*.png"):
        Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(control / path.name)
    prompts = [f"red square --ctrl_img {control / 'red square.png'}"]
    settings = bench.config(train={"steps": 60}, sample={"prompts": prompts})
    settings["config"]["process"][0]["datasets"][0]["control_path"] = str(control)
    bench.run(settings)
    assert distance(sample_of(bench, 0, 0), control / "red square.png") < 0.01
    assert distance(sample_of(bench, 60, 0), bench.data / "red square.png") < 0.02


def sample_of(bench: Bench, step: int, number: int) -> Path:
    """The newest sample of a step and a prompt."""
    return max((bench.output / "samples").glob(f"*__{step:09d}_{number}.jpg"))


def distance(one: Path, other: Path) -> float:
    """The mean squared difference of two pictures, of pixels from 0 to 1."""
    return float(np.mean(np.square(read(one) - read(other))))


def read(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((SIDE, SIDE)), np.float64) / 255
