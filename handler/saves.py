"""The files that a save of ai-toolkit's stands for: its log names one of them, by its path on the trainer's disk."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Wan 2.2 is two models, and a checkpoint of both is logged under the name that neither has.
HALVES = ("_high_noise", "_low_noise")
# Where an embedding or an adapter is trained as well, each goes to a file of its own and the log names one of them.
VARIANTS = ("", "_LoRA", "_refiner", "_t2i", "_cn", "_clip", "_ip", "_adapter")
SUFFIX = ".safetensors"

_STEP_IN_NAME = re.compile(r"_(\d{9})(?:_high_noise|_low_noise)?(?:\.\w+)?$")


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of the run beforehand: the job's name, the output folder, an embedding's trigger word.

    ``exists`` says whether a path relative to the output is there.
    """

    name: str
    output: Path
    exists: Callable[[str], bool]
    trigger: str | None = None


def expand(path: str, step: int | None, run: Run) -> tuple[str, ...]:
    """Return the files (or folders) that a logged checkpoint ``path`` stands for, relative to the output.

    Beside the named one these are the halves of Wan 2.2 and the other variants of the same save, as far as they exist;
    with learnable SNR the log names only a JSON file. Where none exists any more, it is the logged path itself.
    """
    found = tuple(candidate for candidate in dict.fromkeys(_candidates(path, step, run)) if run.exists(candidate))
    return found or (path,)


def step_in_name(path: str) -> int | None:
    """Return the step that a checkpoint's name carries; None for a final one."""
    match = _STEP_IN_NAME.search(path)
    return int(match.group(1)) if match else None


def relative(path: str, output: Path) -> str | None:
    """Return ``path`` relative to the output, also through a link; None when it lies elsewhere."""
    given = Path(os.path.normpath(path))
    # Not Path.resolve, which raises where links lead in a circle.
    for candidate, base in ((given, output), (Path(os.path.realpath(given)), Path(os.path.realpath(output)))):
        if candidate.is_relative_to(base):
            return candidate.relative_to(base).as_posix()
    return None


def files_of(checkpoint: Path) -> list[Path]:
    """Return the files of a checkpoint: all below it where it is a folder, else itself. Raises OSError."""
    if not stat.S_ISDIR(checkpoint.stat().st_mode):
        return [checkpoint]
    below = os.walk(checkpoint, onerror=_refuse)
    return [Path(folder, name) for folder, _, names in below for name in names]


def written(checkpoint: Path) -> float | None:
    """Return when a checkpoint was written to last, by its volume's clock (Unix seconds); None where that is silent."""
    try:
        return max((file.stat().st_mtime for file in files_of(checkpoint)), default=None)
    except OSError:
        return None


def _refuse(error: OSError) -> NoReturn:
    raise error


def _candidates(path: str, step: int | None, run: Run) -> Iterator[str]:
    yield path
    folder = PurePosixPath(path).parent
    number = "" if step is None else f"_{step:09d}"
    for variant in VARIANTS:
        stem = f"{run.name}{variant}{number}"
        yield from (str(folder / f"{stem}{half}{SUFFIX}") for half in ("", *HALVES))
    if run.trigger:
        yield from (str(folder / f"{run.trigger}{number}{suffix}") for suffix in (SUFFIX, ".pt"))
