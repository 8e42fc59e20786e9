"""Learning: one batch, one step of one half's adapter."""

import numpy as np

from .adam import Adam
from .captions import Array, drop_words, embed
from .dataset import Item
from .loader import Batch
from .model import PictureModel
from .pictures import read_square, to_vector, to_vectors


def learn(model: PictureModel, half: str, adam: Adam, batch: Batch, generator: np.random.Generator) -> float:
    """Bring the model's pictures for the batch's captions nearer to its pixels.

    ``generator`` decides which words are left out. Gives the mean squared error from before the step, of pixels from -1
    to 1.
    """
    captions = embed([_caption(item, generator) for item in batch.items])
    base = np.stack([_base(model, item) for item in batch.items])
    error = model.predict(captions, base) - to_vectors(batch.pixels)
    for name, gradient in model.gradients(half, captions, error).items():
        adam.step(weights_key(half, name), model.adapters[half][name], gradient)
    return float(np.mean(np.square(error)))


def weights_key(half: str, name: str) -> str:
    """The optimizer's name for one matrix of the model."""
    return f"{half}/{name}"


def weights_shapes(model: PictureModel) -> dict[str, tuple[int, ...]]:
    """The shapes of all matrices that are trained, by the optimizer's names."""
    return {
        weights_key(half, name): weights.shape
        for half, adapter in model.adapters.items()
        for name, weights in adapter.items()
    }


def _caption(item: Item, generator: np.random.Generator) -> str:
    return drop_words("" if generator.random() < item.caption_dropout else item.caption, item.word_dropout, generator)


def _base(model: PictureModel, item: Item) -> Array:
    return model.noise if item.control is None else to_vector(read_square(item.control, model.side))
