"""What must not lie inside a training folder, because ai-toolkit trains on every picture below one.

Control and mask folders are always put beside the dataset. A single sample picture is, unless it looks like training
data: by lying in the training folder where the configuration comes from, or by having a caption next to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.rewrite.match import components
from handler.rewrite.rules import Kind
from handler.stage.beside import Move, beside_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from handler.stage.tree import StagedTree


@dataclass(frozen=True, slots=True)
class Input:
    """A path of the configuration and what it means in the staged tree."""

    kind: Kind
    text: str
    staged: str


def plan_moves(inputs: Iterable[Input], tree: StagedTree) -> tuple[Move, ...]:
    """Return what to put beside the dataset, what lies deepest first."""
    inputs = tuple(inputs)
    trainings = [one for one in inputs if one.kind is Kind.TRAINING and one.staged not in tree.files]
    leaving = {one.staged for one in inputs if _is_in_the_way(one, trainings, tree)}
    # A file goes along with a folder that leaves.
    leaving = {path for path in leaving if path not in tree.files or not any(inside(path, other) for other in leaving)}
    numbered = [Move(path, f"{number}/{path.rpartition('/')[2]}") for number, path in enumerate(sorted(leaving), 1)]
    return tuple(sorted(numbered, key=lambda move: (-move.source.count("/"), move.source)))


def placed(staged: str, root: Path, moves: Iterable[Move]) -> Path:
    """Return where ``staged`` lies once the moves are done."""
    for move in moves:
        if staged == move.source or inside(staged, move.source):
            return beside_folder(root) / (move.target + staged[len(move.source) :])
    return root / staged if staged else root


def _is_in_the_way(one: Input, trainings: list[Input], tree: StagedTree) -> bool:
    around = [training for training in trainings if inside(one.staged, training.staged)]
    if one.kind is Kind.FOLDER:
        return bool(around)
    if one.kind is Kind.FILE and around:
        return not any(_written_inside(one.text, training.text) for training in around) and not _accompanied(one, tree)
    return False


def inside(path: str, folder: str) -> bool:
    """Return whether ``path`` lies below ``folder``, both relative to the dataset, which is the empty path itself."""
    return path != folder and (not folder or path.startswith(f"{folder}/"))


def _written_inside(path: str, folder: str) -> bool:
    parts, around = components(path), components(folder)
    return len(parts) > len(around) and parts[: len(around)] == around


def _accompanied(one: Input, tree: StagedTree) -> bool:
    stem = one.staged.rpartition(".")[0]
    return any(f"{stem}{suffix}" in tree.files for suffix in (".txt", ".json", ".caption"))
