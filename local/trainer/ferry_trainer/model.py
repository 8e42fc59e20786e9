"""What is learnt: a low-rank adapter that makes pictures of captions, beside a frozen model that makes none.

The frozen model paints coarse coloured noise, whatever the caption. The adapter adds B·A·caption to it (a LoRA: A is
rank × caption, B is pixels × rank and zero at first), trained so that the sum is the caption's picture. With a rank of
at least the number of pictures it can learn all of them; prompts that share words with several captions give mixtures.

Pictures are vectors of side·side·3 numbers from -1 to 1. A control picture, where there is one, takes the place of the
noise.
"""

from collections.abc import Mapping

import numpy as np
from PIL import Image

from .captions import WIDTH, Array
from .pictures import to_picture, to_vector

# With these two the learning rates usual for a LoRA, around 1e-4, also suit a model that has so few columns.
GAIN = 3000.0
DOWN_SCALE = 0.02
DOWN, UP = "lora_A.weight", "lora_B.weight"
_NOISE_SIDE = 8
_NOISE_SEED = 20


class PictureModel:
    """The frozen noise, and one adapter for each of ``halves`` (named by their files' suffixes), which add up."""

    def __init__(self, side: int, rank: int, alpha: float, halves: tuple[str, ...], seed: int) -> None:
        generator = np.random.default_rng(seed)
        spread = np.float32(DOWN_SCALE / np.sqrt(rank))
        self.side = side
        self.halves = halves
        self._scale = np.float32(GAIN * alpha / rank)
        self.adapters: dict[str, dict[str, Array]] = {
            half: {
                DOWN: spread * generator.standard_normal((rank, WIDTH), dtype=np.float32),
                UP: np.zeros((side * side * 3, rank), np.float32),
            }
            for half in halves
        }
        noise = np.random.default_rng(_NOISE_SEED)
        coarse = noise.standard_normal(_NOISE_SIDE * _NOISE_SIDE * 3, dtype=np.float32) / np.float32(2)
        self.noise = to_vector(to_picture(coarse).resize((side, side), Image.Resampling.BICUBIC))

    def predict(self, captions: Array, base: Array, multiplier: float = 1.0) -> Array:
        """The pictures for ``captions``: ``base`` (noise or control pictures) and what the adapters add."""
        added = sum(captions @ weights[DOWN].T @ weights[UP].T for weights in self.adapters.values())
        picture: Array = base + np.float32(multiplier) * self._scale * added
        return picture

    def gradients(self, half: str, captions: Array, error: Array) -> dict[str, Array]:
        """Gradients of the mean squared ``error`` (prediction minus picture) by the weights of one half's adapter."""
        weights = self.adapters[half]
        by_output = error * (2 * self._scale / error.size)
        return {
            DOWN: (by_output @ weights[UP]).T @ captions,
            UP: by_output.T @ (captions @ weights[DOWN].T),
        }

    def load(self, half: str, tensors: Mapping[str, Array]) -> list[str]:
        """Take over an adapter's weights and say which were missing; ``ValueError`` where the shape is another."""
        weights = self.adapters[half]
        for name in weights.keys() & tensors.keys():
            if tensors[name].shape != weights[name].shape:
                raise ValueError(
                    f"size mismatch for {name}: the checkpoint has {tensors[name].shape}, "
                    f"the configuration asks for {weights[name].shape}"
                )
            weights[name] = tensors[name]
        return sorted(weights.keys() - tensors.keys())
