"""Between picture files, pixel arrays and the model's vectors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .captions import Array

Pixels = NDArray[np.uint8]


def read_square(path: Path, side: int) -> Image.Image:
    """The middle of the picture in ``path``, ``side`` pixels wide and high."""
    with Image.open(path) as picture:
        return ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGB"), (side, side))


def to_pixels(picture: Image.Image) -> Pixels:
    """The picture's bytes, in one row."""
    return np.asarray(picture, np.uint8).reshape(-1)


def to_vectors(pixels: Pixels) -> Array:
    """Bytes from 0 to 255 as the model's numbers from -1 to 1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def to_vector(picture: Image.Image) -> Array:
    """A square picture as the model's vector."""
    return to_vectors(to_pixels(picture))


def to_picture(vector: Array) -> Image.Image:
    """The model's vector as a square picture; numbers beyond -1 and 1 are cut off."""
    side = round((vector.size / 3) ** 0.5)
    pixels = np.rint((np.clip(vector, -1, 1) + 1) * 127.5).astype(np.uint8)
    return Image.fromarray(pixels.reshape(side, side, 3))
