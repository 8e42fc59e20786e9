"""Samples: the pictures that the model makes of the prompts, put into the folder so that nobody sees half a file.

Each is written in ``.tmp``, its thumbnail is moved to ``.thumbs``, and then it is moved to its place.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from .captions import embed, insert_trigger
from .model import PictureModel
from .pictures import read_square, to_picture, to_vector
from .prompts import Prompt
from .record import recorded

THUMBNAIL = (300, 300)
# How much of a sample is grain that its seed decides, so that two seeds give two pictures.
GRAIN = 0.02


@dataclass(frozen=True, slots=True)
class Sampler:
    """Makes the pictures of ``prompts`` in ``folder``; each takes at least ``seconds``."""

    folder: Path
    suffix: str
    prompts: Sequence[Prompt]
    trigger: str
    seconds: float = 0.0
    sleep: Callable[[float], None] = time.sleep

    def sample(self, model: PictureModel, infix: str) -> None:
        """Make them all; names are ``{epoch_ms}_{infix}{number}``. The bar is drawn below any other."""
        digits = len(str(len(self.prompts)))
        for number in tqdm(range(len(self.prompts)), desc="Generating Images", leave=False):
            picture = draw(model, self.prompts[number], self.trigger)
            if self.seconds:
                self.sleep(self.seconds)
            place(picture, self.folder, f"{time.time_ns() // 1_000_000}_{infix}{number:0{digits}d}.{self.suffix}")


def draw(model: PictureModel, prompt: Prompt, trigger: str = "") -> Image.Image:
    """The model's picture for a prompt; ``OSError`` where its control picture is not there."""
    caption = embed([insert_trigger(prompt.text, trigger, add=False)])
    control = prompt.control
    base = model.noise if control is None else to_vector(read_square(control, model.side))
    vector = model.predict(caption, base, prompt.multiplier)[0]
    grain = np.random.default_rng(abs(prompt.seed)).standard_normal(vector.shape, dtype=np.float32)
    picture = to_picture(vector + np.float32(GRAIN) * grain)
    return picture.resize((prompt.width, prompt.height), Image.Resampling.BICUBIC)


def place(picture: Image.Image, folder: Path, name: str) -> None:
    """Write ``picture`` into ``folder`` as ``name``, complete from the first moment, after its thumbnail."""
    temporary, thumbs = folder / ".tmp", folder / ".thumbs"
    temporary.mkdir(parents=True, exist_ok=True)
    thumbs.mkdir(exist_ok=True)
    picture.save(temporary / name)
    thumbnail = temporary / f"{name}.thumb"
    ImageOps.fit(picture, THUMBNAIL).save(thumbnail, format="JPEG", quality=90)
    thumbnail.replace(thumbs / f"{name}.jpg")
    with recorded(folder / name, (temporary / name).read_bytes()):
        (temporary / name).replace(folder / name)
