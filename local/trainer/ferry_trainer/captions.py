"""Turns a caption into the vector that the model sees: its words' vectors added up.

A word's vector is random but fixed, drawn from a generator that is seeded with the word, so no vocabulary is needed.
Captions that share words lie near to each other; others are nearly orthogonal but for one number, the same in all of
them, by which the model learns what all pictures have in common.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

WIDTH = 256
SHARED = np.float32(0.5)
_FILLERS = frozenset({"a", "an", "and", "at", "by", "from", "in", "is", "it", "of", "on", "or", "the", "to", "with"})


def embed(captions: Sequence[str]) -> Array:
    """The vectors of ``captions``, one a row, all of one length unless a caption has no words."""
    return np.stack([_embed(caption) for caption in captions])


def insert_trigger(caption: str, trigger: str, *, add: bool) -> str:
    """``caption`` with ``[trigger]`` replaced by the trigger word; ``add`` puts it in front where it is missing."""
    if not trigger:
        return caption
    caption = caption.replace("[trigger]", trigger)
    return f"{trigger} {caption}" if add and trigger not in caption else caption


def drop_words(caption: str, rate: float, generator: np.random.Generator) -> str:
    """``caption`` with each of its words left out with a probability of ``rate``."""
    words = caption.split()
    return " ".join(word for word in words if generator.random() >= rate) if rate else caption


def _embed(caption: str) -> Array:
    words = sorted(set(re.findall(r"\w+", caption.lower())) - _FILLERS)
    total: Array = np.sum([_word_vector(word) for word in words], axis=0) if words else np.zeros(WIDTH - 1, np.float32)
    length = np.float32(np.linalg.norm(total)) or np.float32(1)
    return np.append(total / length, SHARED)


@cache
def _word_vector(word: str) -> Array:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(WIDTH - 1, dtype=np.float32)
