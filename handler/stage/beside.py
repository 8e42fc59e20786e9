"""Parts of a dataset that are put beside it once it is staged, and put back before it is staged again.

So that staging always meets the dataset as it is in the bucket and downloads nothing twice. What was moved is noted
before the first move; every step can be repeated after a crash.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shared.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NOTE = ".moves.json"


@dataclass(frozen=True, slots=True)
class Move:
    """``source`` is relative to the dataset, ``target`` to the folder beside it."""

    source: str
    target: str


def beside_folder(dataset: Path) -> Path:
    """Return the folder beside ``dataset`` that takes what must not be trained on."""
    return dataset.with_name(f"{dataset.name}-beside")


def put_beside(dataset: Path, moves: Iterable[Move]) -> None:
    """Rename each source to its target, in the order given. Raises OSError as the disk does."""
    moves = tuple(moves)
    if not moves:
        return
    beside = beside_folder(dataset)
    beside.mkdir(exist_ok=True)
    write_atomic(beside / _NOTE, json.dumps([asdict(move) for move in moves]).encode())
    for move in moves:
        source, target = dataset / move.source, beside / move.target
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


def put_back(dataset: Path) -> None:
    """Undo ``put_beside``, whether it came to its end or not."""
    beside = beside_folder(dataset)
    try:
        noted = json.loads((beside / _NOTE).read_bytes())
    except FileNotFoundError:
        return
    for move in (Move(**entry) for entry in reversed(noted)):
        source, target = dataset / move.source, beside / move.target
        if target.exists() and not source.exists():
            source.parent.mkdir(parents=True, exist_ok=True)
            target.rename(source)
    (beside / _NOTE).unlink()
