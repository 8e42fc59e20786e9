"""What belongs to each file to train on: a caption, and where a model edits pictures, a control image of the same name.

ai-toolkit trains without what is missing and says nothing, or stops at the first step, when the model has been loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.rewrite.beside import inside
from handler.rewrite.media import MEDIA, VIDEOS
from handler.rewrite.paths import Reference
from handler.rewrite.rules import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from handler.rewrite.inputs import Inputs
    from handler.stage.beside import Move
    from handler.stage.tree import StagedTree

_FOLDER_KEYS = ("dataset_path", "folder_path", "path")
_CONTROL_KEYS = ("control_path", "control_path_1", "control_path_2", "control_path_3")
# As people end captions, when they do not end like caption_ext.
_CAPTION_SUFFIXES = (".txt", ".caption", ".json")


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """A dataset that is a folder: its ``place`` in the configuration, what it is there, and its files, as staged."""

    place: str
    name: str
    dataset: Mapping[str, Any]
    trigger: bool
    files: tuple[str, ...]

    @property
    def told(self) -> str:
        """Return what a person calls it."""
        return f"{self.place} ({self.name or '.'})"


def training_folders(
    config: Mapping[str, Any], tree: StagedTree, inputs: Inputs, moves: Iterable[Move]
) -> Iterator[TrainingFolder]:
    """Yield the folders that a configuration trains on. What ``moves`` takes out of them is not trained on."""
    sources = [move.source for move in moves]
    media = sorted(path for path in tree.files if PurePosixPath(path).suffix.lower() in MEDIA)
    for index, process in enumerate(config["config"]["process"]):
        for number, dataset in enumerate(process.get("datasets") or ()):
            key = next((key for key in _FOLDER_KEYS if dataset.get(key)), None)
            place = f"config.process[{index}].datasets[{number}].{key}"
            staged = inputs.staged(Reference(place, Kind.TRAINING, dataset[key])) if key else None
            if staged is None or staged in tree.files:
                continue
            leaving = [source for source in sources if inside(source, staged)]
            files = (path for path in media if inside(path, staged))
            trained = tuple(path for path in files if not any(path == one or inside(path, one) for one in leaving))
            trigger = bool(dataset.get("trigger_word") or process.get("trigger_word"))
            yield TrainingFolder(place, staged, dataset, trigger, trained)


def emptiness(folder: TrainingFolder) -> str | None:
    """Return why there is nothing in a folder that could be trained on; None where there is."""
    if not folder.files:
        return f"{folder.told} holds no picture, video or sound to train on"
    frames = folder.dataset.get("num_frames")
    reads_videos = folder.dataset.get("auto_frame_count") or (isinstance(frames, int) and frames > 1)
    if not reads_videos and all(PurePosixPath(path).suffix.lower() in VIDEOS for path in folder.files):
        return f"{folder.told} holds only videos, which ai-toolkit reads where num_frames is above 1"
    return None


def lacking(folder: TrainingFolder, tree: StagedTree, inputs: Inputs) -> Iterator[str]:
    """Yield what there is to say of files in a folder that lack their caption, or a control image."""
    caption = _without_caption(folder, tree)
    if caption is not None:
        yield caption
    yield from _without_control(folder, tree, inputs)


def _without_caption(folder: TrainingFolder, tree: StagedTree) -> str | None:
    if folder.dataset.get("default_caption"):
        return None
    suffix = _caption_suffix(folder.dataset)
    missing = [path for path in folder.files if _stem(path) + suffix not in tree.files]
    if not missing or (folder.trigger and len(missing) == len(folder.files)):
        return None
    if len(missing) < len(folder.files):
        example = PurePosixPath(missing[0]).name
        return (
            f"{folder.told}: {len(missing)} of {len(folder.files)} files have no caption ({suffix}), such as {example}"
        )
    other = next((one for one in _CAPTION_SUFFIXES if any(_stem(path) + one in tree.files for path in missing)), None)
    hint = f"; there are captions that end with {other}: set caption_ext to {other[1:]}" if other else ""
    return f"{folder.told}: none of its files has a caption ({suffix}), so that it is trained without words{hint}"


def _without_control(folder: TrainingFolder, tree: StagedTree, inputs: Inputs) -> Iterator[str]:
    for key in _CONTROL_KEYS:
        value = folder.dataset.get(key)
        for text in value if isinstance(value, list) else [value] if value else []:
            staged = inputs.staged(Reference(key, Kind.FOLDER, text))
            if staged is None:
                continue
            there = {
                _stem(PurePosixPath(path).name) for path in tree.files if str(PurePosixPath(path).parent) == staged
            }
            missing = [path for path in folder.files if _stem(PurePosixPath(path).name) not in there]
            if missing:
                count, example = f"{len(missing)} of {len(folder.files)}", PurePosixPath(missing[0]).name
                yield f"{folder.told}: {count} files have no control image in {staged or '.'}, such as {example}"


def _caption_suffix(dataset: Mapping[str, Any]) -> str:
    suffix = str(dataset.get("caption_type") or dataset.get("caption_ext") or ".txt")
    return suffix if suffix.startswith(".") else f".{suffix}"


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
