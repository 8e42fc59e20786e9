"""The checkpoints of one run: their names, what is in them, which are kept, and which one a new run goes on from.

Names are ``{name}_{step:09d}.safetensors`` and at the end ``{name}.safetensors``; Wan 2.2 has two halves with a suffix
each, and the console names the file without one. A model trained as a whole in the diffusers format is a folder.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save

from .adam import Adam
from .captions import Array
from .model import PictureModel
from .writes import Writes

SUFFIX = ".safetensors"
OPTIMIZER = "optimizer.pt"
# What in the name of a file tells that it is not the adapter's checkpoint.
_OTHERS = ("_LoRA", "_refiner", "_t2i", "_cn")
_PREFIX = "diffusion_model.picture."
_PADDING = "ferry.padding"
_WEIGHTS_IN_FOLDER = Path("transformer", "diffusion_pytorch_model.safetensors")
_META_IN_FOLDER = "aitk_meta.yaml"
# numpy has no bfloat16; float16 is as large.
_DTYPES = {"float32": np.float32, "fp32": np.float32, "float": np.float32, "float64": np.float64, "fp64": np.float64}


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Saves into and loads from ``folder``; ``keep`` counts the files with a step, each half by itself."""

    folder: Path
    job_name: str
    name: str
    keep: int
    dtype: str
    as_folder: bool
    writes: Writes
    meta: Mapping[str, Any]

    def save(self, model: PictureModel, step: int | None, training_info: Mapping[str, int], padding: int) -> Path:
        """Save the model, as the last one where ``step`` is None, and give the path that the console names.

        ``padding`` bytes of noise are added. Raises ``SafetensorError`` where the file cannot be written.
        """
        number = "" if step is None else f"_{step:09d}"
        path = self.folder / f"{self.job_name}{number}{SUFFIX}"
        for half in model.halves:
            tensors = {_PREFIX + name: self._typed(weights) for name, weights in model.adapters[half].items()}
            if padding:
                tensors[_PADDING] = np.random.default_rng(step).integers(0, 256, padding, np.uint8)
            if self.as_folder:
                path = path.with_suffix("")
                self._save_folder(path, tensors, training_info)
            else:
                content = save(tensors, self._metadata(training_info))
                self.writes.checkpoint(path.with_name(f"{path.stem}{half}{SUFFIX}"), content)
        return path

    def save_optimizer(self, adam: Adam) -> None:
        """Rewrite the optimizer's state in place; what hinders it is printed, and the training goes on."""
        path = self.folder / OPTIMIZER
        try:
            self.writes.in_place(path, adam.to_bytes())
            print(f"Saved optimizer to {path}")
        except OSError as error:
            print(f"{error}\nCould not save optimizer")

    def remove_old(self) -> None:
        """Delete the saves with a step that are more than are to be kept, the oldest by ctime."""
        saves = [path for path in self.folder.glob(f"{self.job_name}_*") if path.suffix == SUFFIX or path.is_dir()]
        for kind in (Path.is_file, Path.is_dir):
            paths = sorted(filter(kind, saves), key=_ctime)
            for path in paths[: -self.keep]:
                print(f"Removing old save: {path}")
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def newest(self) -> Path | None:
        """What a new run goes on from: whatever begins with the name and has the newest ctime."""
        others = [mark for mark in _OTHERS if mark not in self.name]
        paths = [path for path in self.folder.glob(f"{self.name}*") if not any(mark in path.name for mark in others)]
        return max(paths, key=_ctime, default=None)

    def load(self, path: Path, model: PictureModel) -> int | None:
        """Take over the weights in ``path`` (with both halves) and give its step.

        Raises ``SafetensorError`` or ``OSError`` for what is no whole checkpoint, ``ValueError`` for another shape.
        """
        if path.is_dir():
            model.load(model.halves[0], read_weights(path / _WEIGHTS_IN_FOLDER))
            return _step(yaml.safe_load((path / _META_IN_FOLDER).read_text(encoding="utf-8")))
        print(f"Loading from {path}")
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
        missing: list[str] = []
        for half in model.halves:
            file_of_half = _half(path, model.halves, half)
            missing += model.load(half, read_weights(file_of_half) if file_of_half.exists() else {})
        print(f"Missing keys: {missing}")
        return _step({key: json.loads(metadata[key]) for key in ("training_info",) if key in (metadata or {})})

    def _typed(self, weights: Array) -> Any:
        return weights.astype(_DTYPES.get(self.dtype, np.float16))

    def _metadata(self, training_info: Mapping[str, int]) -> dict[str, str]:
        values = {**self._described(training_info), "format": "pt"}
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}

    def _described(self, training_info: Mapping[str, int]) -> dict[str, Any]:
        return {
            **self.meta,
            "training_info": dict(training_info),
            "ss_base_model_version": "ferry_pictures",
            "ss_output_name": self.job_name,
            "software": {"name": "ferry-trainer"},
        }

    def _save_folder(self, folder: Path, tensors: dict[str, Any], training_info: Mapping[str, int]) -> None:
        weights = folder / _WEIGHTS_IN_FOLDER
        weights.parent.mkdir(parents=True, exist_ok=True)
        (weights.parent / "config.json").write_text(json.dumps({"_class_name": "PictureModel"}), encoding="utf-8")
        self.writes.checkpoint(weights, save(tensors, {"format": "pt"}))
        (folder / _META_IN_FOLDER).write_text(yaml.safe_dump(self._described(training_info)), encoding="utf-8")


def read_weights(path: Path) -> dict[str, Array]:
    """The adapter's weights in a checkpoint, by the names that the model gives them."""
    weights = {name: tensor for name, tensor in load_file(path).items() if name.startswith(_PREFIX)}
    return {name.removeprefix(_PREFIX): tensor.astype(np.float32) for name, tensor in weights.items()}


def _half(path: Path, halves: Sequence[str], half: str) -> Path:
    """The file of one half beside the file of any of them."""
    for other in filter(None, halves):
        if path.stem.endswith(other):
            return path.with_name(f"{path.stem.removesuffix(other)}{half}{path.suffix}")
    return path


def _step(meta: Mapping[str, Any]) -> int | None:
    step = (meta.get("training_info") or {}).get("step")
    return None if step is None else int(step)


def _ctime(path: Path) -> float:
    return path.stat().st_ctime
