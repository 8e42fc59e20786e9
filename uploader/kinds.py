"""What a file is, by its path alone, and which key it gets. Pure rules.

Paths are relative to the output folder, with ``/`` between segments. ai-toolkit writes into ``output/{name}/``; that
first component is left out of the key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from shared import keys

if TYPE_CHECKING:
    from collections.abc import Sequence

INCOMPLETE = "incomplete"
OPTIMIZER = "optimizer.pt"

_STEP = re.compile(r"_(\d{6,12})(?:\D|$)")
_PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "avif", "tif", "tiff"})
_VIDEO = frozenset({"mp4", "avi", "mov", "webm", "mkv", "wmv", "m4v", "flv"})
_AUDIO = frozenset({"mp3", "wav", "flac", "aac", "ogg", "m4a"})
_MEDIA = _PICTURES | _VIDEO | _AUDIO
_WEIGHTS = frozenset({"safetensors", "pt", "ckpt", "bin"})
_DATABASES = frozenset({"db", "sqlite", "sqlite3"})
_GROWING = frozenset({"log", "out", "err", "jsonl", "csv", "tsv"})
_LOG_NAMES = frozenset({"log.txt", "learnable_snr.json", "metrics.json"})
_IGNORED_NAMES = frozenset(
    {"config.yaml", "__pycache__", "_latent_cache", "_t_e_cache", "_clip_vision_cache", "_controls", "pid.txt"}
)
_IGNORED_SUFFIXES = ("-shm", ".tmp", ".part", ".lock", ".swp", "~")


class Kind(StrEnum):
    """What a file is to the uploader."""

    SAMPLE = "sample"
    CHECKPOINT = "checkpoint"
    OPTIMIZER = "optimizer"
    LOG = "log"
    DATABASE = "database"
    OTHER = "other"


# What a training is continued from: of these, half of one is worse than none.
WEIGHTS = frozenset({Kind.CHECKPOINT, Kind.OPTIMIZER})

_FOLDERS = {
    Kind.SAMPLE: "samples",
    Kind.CHECKPOINT: "checkpoints",
    Kind.OPTIMIZER: "checkpoints",
    Kind.LOG: "logs",
    Kind.DATABASE: "logs",
    Kind.OTHER: "outputs",
}


# Every object of a run's files lies in one of these below its prefix.
OUTPUT_FOLDERS = frozenset({*_FOLDERS.values(), INCOMPLETE})


@dataclass(frozen=True, slots=True)
class Nature:
    """A file's kind, whether it only ever grows, and its path below the run's own folder."""

    kind: Kind
    growing: bool
    inner: str


def ignored(path: str, exclude: Sequence[str] = (), *, name: str = "") -> bool:
    """Return whether ``path`` is never uploaded: hidden, temporary, caches, or matched by a pattern of the user's.

    ``name`` is the run's: its own folder is never meant, however somebody has called it.
    """
    segments = path.split("/")
    inner = segments[1:] if segments[0] == name else segments
    if any(segment.startswith(".") or segment in _IGNORED_NAMES for segment in inner):
        return True
    if inner and inner[-1].endswith(_IGNORED_SUFFIXES):
        return True
    return any(fnmatchcase(path, pattern) or fnmatchcase(segments[-1], pattern) for pattern in exclude)


@lru_cache(maxsize=4096)
def nature(path: str, name: str) -> Nature:
    """Return what the file at ``path`` is, in a run whose folder and files are called ``name``."""
    first, slash, rest = path.partition("/")
    inner = rest if slash and first == name else path
    kind = _kind(inner, name)
    return Nature(kind=kind, growing=kind is Kind.LOG and _grows(inner), inner=inner)


def named_step(path: str) -> int | None:
    """Return the step that a checkpoint's name carries, if any."""
    match = _STEP.search(path)
    return int(match.group(1)) if match else None


def key_of(path: str, name: str, prefix: str = "", *, incomplete: bool = False) -> str:
    """Return the key, below the run's ``prefix``, of the file at ``path``; ``incomplete`` for a torn checkpoint."""
    what = nature(path, name)
    folder = INCOMPLETE if incomplete else _FOLDERS[what.kind]
    first, slash, rest = what.inner.partition("/")
    below = rest if slash and first == folder else what.inner
    return keys.fit(keys.join(folder, keys.escape(below)), prefix)


def is_database_side_file(path: str) -> bool:
    """Return whether ``path`` is a journal beside a live SQLite database: part of it until it is closed."""
    return path.endswith(("-wal", "-journal"))


def _kind(inner: str, name: str) -> Kind:
    folders, _, file = inner.rpartition("/")
    top = inner.partition("/")[0] if folders else ""
    suffix = file.rpartition(".")[2].lower() if "." in file else ""
    if file == OPTIMIZER:
        return Kind.OPTIMIZER
    if suffix in _WEIGHTS or _is_model_folder(top, name):
        return Kind.CHECKPOINT
    if top == "samples" or suffix in _MEDIA:
        return Kind.SAMPLE
    if suffix in _DATABASES or is_database_side_file(file):
        return Kind.DATABASE
    if top == "logs" or suffix in _GROWING or file in _LOG_NAMES or ".tfevents." in file:
        return Kind.LOG
    return Kind.OTHER


def _grows(inner: str) -> bool:
    file = inner.rpartition("/")[2]
    return file == "log.txt" or ".tfevents." in file or file.rpartition(".")[2].lower() in _GROWING


def _is_model_folder(top: str, name: str) -> bool:
    return bool(top) and bool(name) and _model_folder(name).fullmatch(top) is not None


@lru_cache
def _model_folder(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name) + r"(_\d+)?(_[A-Za-z]+)*")
