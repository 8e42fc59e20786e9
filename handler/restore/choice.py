"""Which objects of an interrupted training are restored. Pure rules over the bucket's own records.

ai-toolkit takes whatever is named like the job and has the newest ctime, so only one checkpoint is put back: the newest
that is whole. A checkpoint is all files of one step: the two halves of Wan 2.2, an embedding beside its LoRA, or a
folder, which is complete when ``aitk_meta.yaml`` is there, because that is written last.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.progress import HALVES, step_in_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from handler.ending import Expected
    from shared.storage.records import ObjectRecord

OPTIMIZER = "optimizer.pt"
TRAINING_LOG = "logs/training.log"
_FOLDER_META = "aitk_meta.yaml"
_EVENTS = ".tfevents."


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that a session of the lineage left, and where it lay below ``output/``. ``step`` as it was stamped."""

    record: ObjectRecord
    path: PurePosixPath
    sha256: str
    session: str
    step: int | None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All files of one step. ``step`` is None where nothing tells it, as of a last checkpoint without a stamp."""

    step: int | None
    files: tuple[Kept, ...]


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
    return Kept(record, path, told["sha256"], told["session"], int(step) if step.isdecimal() else None)


def left(found: Iterable[Kept], expected: Expected, halves: frozenset[str], lineage: Sequence[str]) -> Left:
    """Return what ``found`` holds of use to the run of ``expected``, which trains ``halves`` where it is two models."""
    grouped: dict[tuple[int, int | None], list[Kept]] = defaultdict(list)
    optimizers, logs = [], []
    for each in found:
        if each.path.name == OPTIMIZER and each.path.parts[0] == expected.name:
            optimizers.append(each)
        elif _is_weights(each.path, expected):
            grouped[lineage.index(each.session), step_in_name(each.path.parts[1])].append(each)
        elif _is_log(each.path, expected):
            logs.append(each)
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


def _is_whole(files: Iterable[Kept], halves: frozenset[str]) -> bool:
    paths = [each.path for each in files]
    folders = {path.parts[1] for path in paths if len(path.parts) > 2}
    complete = {path.parts[1] for path in paths if path.name == _FOLDER_META}
    found = {half for path in paths for half in HALVES if path.stem.endswith(half)}
    return folders == complete and (not found or found >= halves)


def _step(files: Iterable[Kept], named: int | None) -> int | None:
    return named if named is not None else next((each.step for each in files if each.step is not None), None)
