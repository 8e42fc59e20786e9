"""Which objects of an interrupted training are restored. Pure rules over the bucket's own records.

ai-toolkit takes whatever is named like the job and has the newest ctime, so only one checkpoint is put back: the newest
that is whole. A checkpoint is all files of one step: the two halves of Wan 2.2, an embedding beside its LoRA, or a
folder, whose last file carries a seal of all the others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.saves import HALVES, step_in_name
from shared import folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from handler.expected import Expected
    from shared.storage.records import ObjectRecord

OPTIMIZER = "optimizer.pt"
TRAINING_LOG = "logs/training.log"
_EVENTS = ".tfevents."
# The parts of a path that lies directly in the run's own folder.
_OWN_FILE = 2


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that a session of the lineage left, and where it lay below ``output/``.

    ``step`` as it was stamped; ``seal``: what the last file of a folder says of the others.
    """

    record: ObjectRecord
    path: PurePosixPath
    sha256: str
    session: str
    step: int | None
    seal: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All files of one step. ``step`` is None where nothing tells it, as of a last checkpoint without a stamp."""

    step: int | None
    files: tuple[Kept, ...]

    def without(self, damaged: Kept) -> list[Kept]:
        """Return the other files, and first what makes them look whole without ``damaged``."""
        return sorted((each for each in self.files if each is not damaged), key=lambda each: not _is_last(each))


@dataclass(frozen=True, slots=True)
class Left:
    """What there is to choose from: checkpoints, the newest first, states of the optimizer, and logs."""

    checkpoints: tuple[Checkpoint, ...]
    optimizers: tuple[Kept, ...]
    logs: tuple[Kept, ...]

    def optimizer_of(self, checkpoint: Checkpoint) -> Kept | None:
        """Return the state of the optimizer at the very step of ``checkpoint``."""
        known = (kept for kept in self.optimizers if checkpoint.step is not None and kept.step == checkpoint.step)
        return next(known, None)


def kept(record: ObjectRecord, lineage: Sequence[str]) -> Kept | None:
    """Return what ``record`` (with its user metadata) is to a training of ``lineage``; None where it is another's.

    The path comes from the bucket, so it is taken only where it stays below the output folder.
    """
    told = record.metadata
    path = PurePosixPath(told.get("path", ""))
    within = path.parts and not path.is_absolute() and ".." not in path.parts and "\\" not in str(path)
    if not within or told.get("session") not in lineage or not told.get("sha256"):
        return None
    step = told.get("step", "")
    stamped = int(step) if step.isdecimal() else None
    return Kept(record, path, told["sha256"], told["session"], stamped, told.get(folders.SEAL))


def left(found: Iterable[Kept], expected: Expected, halves: frozenset[str], lineage: Sequence[str]) -> Left:
    """Return what ``found`` holds of use to the run of ``expected``, which trains ``halves`` where it is two models."""
    weights, optimizers, logs = [], [], []
    for each in found:
        if each.path == PurePosixPath(expected.name, OPTIMIZER):
            optimizers.append(each)
        elif _is_weights(each.path, expected):
            weights.append(each)
        elif _is_log(each.path, expected):
            logs.append(each)
    grouped = _grouped(weights, lineage)
    newest = sorted(grouped, key=lambda group: (group[0], math.inf if group[1] is None else group[1]), reverse=True)
    whole = (
        Checkpoint(_step(grouped[group], group[1]), tuple(grouped[group]))
        for group in newest
        if _is_whole(grouped[group], halves)
    )
    return Left(tuple(whole), tuple(optimizers), tuple(logs))


def trained_halves(config: Mapping[str, Any]) -> frozenset[str]:
    """Return which halves of a two-part model a configuration (as parsed) trains; both unless it says otherwise."""
    processes = config.get("config", {}).get("process", [])
    model = next((process.get("model") for process in processes if isinstance(process, dict)), None)
    told = model.get("model_kwargs") if isinstance(model, dict) else None
    if not isinstance(told, dict):
        return frozenset(HALVES)
    return frozenset(half for half in HALVES if told.get(f"train{half}") is not False)


def _is_weights(path: PurePosixPath, expected: Expected) -> bool:
    stems = [stem for stem in (expected.name, expected.trigger) if stem]
    return len(path.parts) > 1 and path.parts[0] == expected.name and path.parts[1].startswith(tuple(stems))


def _is_log(path: PurePosixPath, expected: Expected) -> bool:
    """Return whether ``path`` is a log that the run goes on with. Event files begin anew with each start."""
    if str(path) == TRAINING_LOG:
        return True
    own = len(path.parts) > 1 and path.parts[0] == expected.name
    return own and not path.parts[1].startswith(expected.name) and _EVENTS not in path.name


def _grouped(weights: Iterable[Kept], lineage: Sequence[str]) -> dict[tuple[int, int | None], list[Kept]]:
    """Return the files of each checkpoint, by the place of its session in ``lineage`` and the step in its name.

    A folder is the session's that completed it: what it had in common with an older one was not sent again.
    """
    named: dict[str, list[Kept]] = defaultdict(list)
    for each in weights:
        named[each.path.parts[1]].append(each)
    grouped: dict[tuple[int, int | None], list[Kept]] = defaultdict(list)
    for name, files in named.items():
        last = list(filter(_is_last, files)) or files
        grouped[max(lineage.index(each.session) for each in last), step_in_name(name)] += files
    return grouped


def _is_whole(files: Iterable[Kept], halves: frozenset[str]) -> bool:
    inner: dict[str, list[Kept]] = defaultdict(list)
    for each in files:
        if len(each.path.parts) > _OWN_FILE:
            inner[each.path.parts[1]].append(each)
    found = {half for each in files for half in HALVES if each.path.stem.endswith(half)}
    return all(map(_is_sealed, inner.values())) and (not found or found >= halves)


def _is_sealed(folder: Iterable[Kept]) -> bool:
    """Return whether what is there of a folder is what its last file says that there is."""
    others = {str(each.path): each.sha256 for each in folder if not _is_last(each)}
    return any(each.seal == folders.seal(others) for each in folder if _is_last(each))


def _is_last(file: Kept) -> bool:
    return len(file.path.parts) == _OWN_FILE + 1 and file.path.name == folders.LAST


def _step(files: Iterable[Kept], named: int | None) -> int | None:
    return named if named is not None else next((each.step for each in files if each.step is not None), None)
