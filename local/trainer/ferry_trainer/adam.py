"""Adam, and its state as a file.

The state lies in ``optimizer.pt`` as a zip archive of numpy arrays: like torch's file it is a zip, so that a torn one
shows itself by its missing directory.
"""

import io
from collections.abc import Mapping

import numpy as np

from .captions import Array

BETA_1, BETA_2, EPSILON = np.float32(0.9), np.float32(0.99), np.float32(1e-8)


class Adam:
    """Changes weights in place; keeps the two moments of each under its key."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self._counts: dict[str, int] = {}
        self._first: dict[str, Array] = {}
        self._second: dict[str, Array] = {}

    def step(self, key: str, weights: Array, gradient: Array) -> None:
        """One step of ``weights`` down ``gradient``, whose memory is used up on the way."""
        first = self._first.setdefault(key, np.zeros_like(weights))
        second = self._second.setdefault(key, np.zeros_like(weights))
        count = self._counts[key] = self._counts.get(key, 0) + 1
        first += (1 - BETA_1) * (gradient - first)
        np.square(gradient, out=gradient)
        gradient -= second
        second += (1 - BETA_2) * gradient
        update = np.sqrt(second)
        update /= np.sqrt(1 - BETA_2**count)
        update += EPSILON
        np.divide(first, update, out=update)
        update *= np.float32(self.lr) / (1 - BETA_1**count)
        weights -= update

    def to_bytes(self) -> bytes:
        """The state as the content of a file."""
        arrays: dict[str, Array] = {}
        for key, count in self._counts.items():
            arrays |= {
                f"{key}/count": np.array(count, np.float32),
                f"{key}/first": self._first[key],
                f"{key}/second": self._second[key],
            }
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        return content.getvalue()

    def load(self, content: bytes, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Take over a saved state for weights of these ``shapes``.

        Raises ``OSError``, ``ValueError``, ``KeyError``, ``EOFError`` or ``zipfile.BadZipFile`` where the content is
        torn or belongs to other weights; the state is then as it was.
        """
        with np.load(io.BytesIO(content)) as archive:
            loaded = {name: archive[name] for name in archive.files}
        keys = [key for key in shapes if f"{key}/count" in loaded]
        for key in keys:
            if loaded[f"{key}/first"].shape != shapes[key] or loaded[f"{key}/second"].shape != shapes[key]:
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
        self._counts = {key: int(loaded[f"{key}/count"]) for key in keys}
        self._first = {key: loaded[f"{key}/first"] for key in keys}
        self._second = {key: loaded[f"{key}/second"] for key in keys}
