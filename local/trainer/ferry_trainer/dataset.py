"""A data set on disk: which pictures it has, what is said about them, and the files that the trainer leaves in it.

Folders are walked with all that is below them, but for files and folders with a leading dot and ``_controls``. A JSON
file in the place of a folder has the pictures' paths as its keys.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file
from tqdm import tqdm

from .captions import insert_trigger
from .pictures import Pixels, read_square, to_pixels
from .settings import DatasetSettings

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
SIZES_FILE = ".aitk_size.json"
SIZES_VERSION = "0.1.2"
LATENTS_FOLDER = "_latent_cache"


@dataclass(frozen=True, slots=True)
class Item:
    """A picture to learn, its caption and how often that is left out, where its control and its cached pixels lie."""

    path: Path
    caption: str
    caption_dropout: float
    word_dropout: float
    side: int
    control: Path | None
    latent: Path | None


def open_dataset(settings: DatasetSettings, trigger: str) -> list[Item]:
    """Find the pictures and tell the console about them, as ai-toolkit does while it prepares a data set.

    Raises ``OSError`` where there is nothing at the path, ``AssertionError`` where it has no pictures.
    """
    captions, paths = _listed(settings.path)
    print(f"Dataset: {settings.path}\n  -  Preprocessing image dimensions")
    folder = settings.path if settings.path.is_dir() else settings.path.parent
    paths = _measure(paths, folder)
    print(f"  -  Found {len(paths)} images")
    if not paths:
        raise AssertionError(f"no images found in {settings.path}")
    items = [_item(path, captions, settings, trigger) for path in paths]
    print(f"Bucket sizes for {settings.path}:")
    for side, count in Counter(item.side for item in items).items():
        print(f"{side}x{side}: {count} files")
    print("1 buckets made")
    if settings.cache_latents:
        _cache_latents(items, settings.path)
    return items


def read_pixels(item: Item) -> Pixels:
    """The pixels to learn: from the cache where they lie there."""
    if item.latent is not None:
        pixels: Pixels = load_file(item.latent)["latent"]
        return pixels
    return to_pixels(read_square(item.path, item.side))


def find_by_stem(folders: Sequence[Path], stem: str) -> Path | None:
    """The picture called ``stem`` in one of the flat ``folders``."""
    candidates = (folder / f"{stem}{suffix}" for folder in folders for suffix in sorted(SUFFIXES))
    return next((path for path in candidates if path.is_file()), None)


def _listed(path: Path) -> tuple[dict[str, Any], list[Path]]:
    if path.is_dir():
        return {}, sorted(_walk(path))
    with path.open(encoding="utf-8") as file:
        captions = json.load(file)
    return captions, [Path(key) for key in captions]


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "_controls"]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)


def _measure(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Write the pictures' sizes into the folder; those that cannot be read are named and left out."""
    sizes: dict[str, object] = {"__version__": SIZES_VERSION}
    readable = []
    for path in tqdm(paths):
        try:
            with Image.open(path) as picture:
                sizes[os.path.relpath(path, folder)] = [*picture.size, path.stat().st_size]
            readable.append(path)
        except OSError as error:
            print(f"Error processing image: {path}\n{error}")
    (folder / SIZES_FILE).write_text(json.dumps(sizes), encoding="utf-8")
    return readable


def _item(path: Path, captions: dict[str, Any], settings: DatasetSettings, trigger: str) -> Item:
    return Item(
        path=path,
        caption=insert_trigger(_caption(path, captions, settings), trigger, add=True),
        caption_dropout=settings.caption_dropout,
        word_dropout=settings.word_dropout,
        side=settings.side,
        control=find_by_stem(settings.control_folders, path.stem),
        latent=_latent_path(path, settings.side) if settings.cache_latents else None,
    )


def _caption(path: Path, captions: dict[str, Any], settings: DatasetSettings) -> str:
    entry = captions.get(str(path))
    if entry is not None:
        return str(entry["caption"] if isinstance(entry, dict) else entry)
    file = path.with_suffix(settings.caption_suffix)
    text = " ".join(file.read_text(encoding="utf-8").split()) if file.is_file() else ""
    return text or settings.default_caption


def _latent_path(path: Path, side: int) -> Path:
    digest = hashlib.sha256(f"{path.name}:{side}".encode()).hexdigest()[:22]
    return path.parent / LATENTS_FOLDER / f"{path.stem}_{digest}.safetensors"


def _cache_latents(items: Sequence[Item], path: Path) -> None:
    print(f"Caching latents for {path}\n - Saving latents to disk")
    for item in tqdm(items, desc="Caching latents to disk"):
        if item.latent is not None and not item.latent.exists():
            item.latent.parent.mkdir(exist_ok=True)
            save_file({"latent": np.array(to_pixels(read_square(item.path, item.side)))}, item.latent)
