"""What lies in a staged dataset, as relative paths with ``/``: the rules about it need no disk."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from shared.patience import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_SHOWN = 12


@dataclass(frozen=True)
class StagedTree:
    """The files below ``root``. ``name`` is the folder's name where it came from, empty where it has none."""

    root: Path
    files: frozenset[str]
    name: str = ""

    @classmethod
    def of(cls, root: Path, paths: Iterable[str], name: str = "") -> StagedTree:
        """Return the tree of the files at ``paths``, which are relative to ``root``."""
        return cls(root, frozenset(paths), name)

    @cached_property
    def folders(self) -> frozenset[str]:
        """The folders that hold something, however deep, without the root."""
        parents = (parent for path in self.files for parent in PurePosixPath(path).parents)
        return frozenset(str(parent) for parent in parents) - {"."}

    def description(self) -> str:
        """Return what is there, for an error about what is not."""
        if not self.files:
            return "The staged dataset is empty"
        return f"The staged dataset holds the folders {_some(self.folders)} and the files {_some(self.files)}"


def read_tree(root: Path, name: str = "", *, sleep: Callable[[float], object] = time.sleep) -> StagedTree:
    """Return what lies below ``root`` on the disk, without what ai-toolkit passes over: names that begin with a dot.

    ``sleep`` pauses for seconds while the disk does not answer for a while. Raises OSError where it does not at all.
    """
    return StagedTree.of(root, patiently(partial(_files_below, root), sleep=sleep), name)


def _files_below(root: Path) -> list[str]:
    files: list[str] = []
    for folder, subfolders, names in os.walk(root, onerror=_refuse):
        subfolders[:] = [subfolder for subfolder in subfolders if not subfolder.startswith(".")]
        relative = os.path.relpath(folder, root)
        base = "" if relative == "." else f"{relative}/"
        files.extend(f"{base}{file}" for file in names if not file.startswith("."))
    return files


def _refuse(error: OSError) -> NoReturn:
    # A folder that is passed over would be missing in the training without a word.
    raise error


def _some(paths: frozenset[str]) -> str:
    shown = sorted(paths, key=lambda path: (path.count("/"), path))[:_SHOWN]
    more = len(paths) - len(shown)
    return (", ".join(shown) or "(none)") + (f" and {more} more" if more else "")
