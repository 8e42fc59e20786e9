"""What a run is to leave behind at its end, and whether it has: ai-toolkit exits with 0 when it is interrupted, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from handler.saves import HALVES, VARIANTS
from shared import folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_WITHOUT_CHECKPOINT = frozenset({"generate", "extract", "mod", "merge"})
_PROCESSES_WITHOUT_CHECKPOINT = ("_generator", "_img2img", "Captioner", "_tagger", "dataset_tools", "sync_from_")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run is to leave: files named after the job, or after an embedding's trigger; or just anything."""

    name: str
    trigger: str | None = None
    checkpoint: bool = True


def expected(config: Mapping[str, Any], name: str) -> Expected:
    """Return what the job of a configuration (as parsed) is to leave behind."""
    section = config.get("config")
    processes = section.get("process") if isinstance(section, dict) else None
    kinds = [process for process in processes or () if isinstance(process, dict)] if isinstance(processes, list) else []
    types = [str(process.get("type", "")) for process in kinds]
    embeddings = [process["embedding"] for process in kinds if isinstance(process.get("embedding"), dict)]
    triggers = [str(embedding["trigger"]) for embedding in embeddings if embedding.get("trigger")]
    without = bool(types) and all(any(mark in kind for mark in _PROCESSES_WITHOUT_CHECKPOINT) for kind in types)
    return Expected(
        name=name,
        trigger=triggers[0] if triggers else None,
        checkpoint=not without and config.get("job") not in _WITHOUT_CHECKPOINT,
    )


def made_what_it_should(written: Iterable[str], expected: Expected) -> bool:
    """Return whether the files ``written`` by a run include what it was to leave at its end."""
    if not expected.checkpoint:
        return any(_is_product(PurePosixPath(path)) for path in written)
    paths = [PurePosixPath(path) for path in written]
    stems = {expected.name + variant for variant in VARIANTS} | ({expected.trigger} if expected.trigger else set())
    if any(_is_final_file(path, stems) or _is_in_final_folder(path, stems) for path in paths):
        return True
    halves = {half for path in paths for half in HALVES if path.stem.endswith(half)}
    final = {half for path in paths for half in HALVES if path.stem == expected.name + half}
    return bool(final) and final == halves


def _is_final_file(path: PurePosixPath, stems: Iterable[str]) -> bool:
    return path.suffix in _SUFFIXES and path.name.removesuffix(path.suffix) in stems


def _is_in_final_folder(path: PurePosixPath, stems: Iterable[str]) -> bool:
    # The first component is the run's own folder, which has the job's name as well.
    around = set(path.parts[1:-1])
    if path.name == folders.LAST:
        return not around.isdisjoint(stems)
    return path.suffix in _SUFFIXES and not around.isdisjoint(stem + folders.UNMARKED for stem in stems)


def _is_product(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.parts[0] != "logs" and path.name != "config.yaml"
