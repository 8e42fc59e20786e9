"""What belongs to each file to train on: a caption, and where a model edits pictures, a control image of the same name.

ai-toolkit trains without what is missing and says nothing, or stops at the first step, when the model has been loaded.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
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
class _Folder:
    """A dataset that is a folder: what a person calls it, its part of the configuration, and its files, as staged."""

    told: str
    dataset: Mapping[str, Any]
    trigger: bool
    files: tuple[str, ...]


class Companions:
    """Looks over what one configuration trains on. What ``moves`` takes out of a folder is not trained on."""

    def __init__(self, config: Mapping[str, Any], tree: StagedTree, inputs: Inputs, moves: Iterable[Move]) -> None:
        self._files = tree.files
        self._inputs = inputs
        self._sources = [move.source for move in moves]
        self._trained: dict[str, tuple[str, ...]] = {}
        self._folders = tuple(self._datasets(config))

    def emptiness(self) -> list[str]:
        """Return what there is to say of folders that hold nothing to train on."""
        return [told for folder in self._folders if (told := _emptiness(folder))]

    def warnings(self) -> Iterator[str]:
        """Yield what there is to say of files that lack their caption, or a control image."""
        for folder in self._folders:
            caption = self._without_caption(folder)
            if caption is not None:
                yield caption
            yield from self._without_control(folder)

    def _datasets(self, config: Mapping[str, Any]) -> Iterator[_Folder]:
        for index, process in enumerate(config["config"]["process"]):
            for number, dataset in enumerate(process.get("datasets") or ()):
                key = next((key for key in _FOLDER_KEYS if dataset.get(key)), None)
                staged = self._inputs.staged(Reference("", Kind.TRAINING, dataset[key])) if key else None
                if staged is not None and staged not in self._files:
                    told = f"config.process[{index}].datasets[{number}].{key} ({staged or '.'})"
                    trigger = bool(dataset.get("trigger_word") or process.get("trigger_word"))
                    yield _Folder(told, dataset, trigger, self._trained_in(staged))

    def _trained_in(self, staged: str) -> tuple[str, ...]:
        if staged not in self._trained:
            leaving = [source for source in self._sources if inside(source, staged)]
            media = (path for path in self._media if inside(path, staged))
            staying = (path for path in media if not any(path == one or inside(path, one) for one in leaving))
            self._trained[staged] = tuple(staying)
        return self._trained[staged]

    def _without_caption(self, folder: _Folder) -> str | None:
        if folder.dataset.get("default_caption"):
            return None
        suffix = _caption_suffix(folder.dataset)
        missing = [path for path in folder.files if _stem(path) + suffix not in self._files]
        if not missing or (folder.trigger and len(missing) == len(folder.files)):
            return None
        if len(missing) < len(folder.files):
            return f"{folder.told}: {_count(missing, folder)} have no caption ({suffix}), such as {_name(missing[0])}"
        other = next(
            (one for one in _CAPTION_SUFFIXES if any(_stem(path) + one in self._files for path in missing)), ""
        )
        hint = f"; there are captions that end with {other}: set caption_ext to {other[1:]}" if other else ""
        return f"{folder.told}: none of its files has a caption ({suffix}), so that it is trained without words{hint}"

    def _without_control(self, folder: _Folder) -> Iterator[str]:
        for key in _CONTROL_KEYS:
            value = folder.dataset.get(key)
            for text in value if isinstance(value, list) else [value] if value else []:
                staged = self._inputs.staged(Reference("", Kind.FOLDER, text))
                if staged is None:
                    continue
                there = self._names.get(staged, set())
                missing = [path for path in folder.files if _stem(_name(path)) not in there]
                if missing:
                    where = f"{staged or '.'}, such as {_name(missing[0])}"
                    yield f"{folder.told}: {_count(missing, folder)} have no control image in {where}"

    @cached_property
    def _media(self) -> list[str]:
        return sorted(path for path in self._files if _suffix(path) in MEDIA)

    @cached_property
    def _names(self) -> Mapping[str, set[str]]:
        """The names of the media in each folder itself, without their suffixes."""
        names: defaultdict[str, set[str]] = defaultdict(set)
        for path in self._media:
            names[path.rpartition("/")[0]].add(_stem(_name(path)))
        return names


def _emptiness(folder: _Folder) -> str | None:
    if not folder.files:
        return f"{folder.told} holds no picture, video or sound to train on"
    frames = folder.dataset.get("num_frames")
    reads_videos = folder.dataset.get("auto_frame_count") or (isinstance(frames, int) and frames > 1)
    if not reads_videos and all(_suffix(path) in VIDEOS for path in folder.files):
        return f"{folder.told} holds only videos, which ai-toolkit reads where num_frames is above 1"
    return None


def _count(missing: list[str], folder: _Folder) -> str:
    return f"{len(missing)} of {len(folder.files)} files"


def _caption_suffix(dataset: Mapping[str, Any]) -> str:
    suffix = str(dataset.get("caption_type") or dataset.get("caption_ext") or ".txt")
    return suffix if suffix.startswith(".") else f".{suffix}"


# pathlib would take seconds for a hundred thousand files.


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _suffix(path: str) -> str:
    return f".{path.rpartition('.')[2].lower()}"
