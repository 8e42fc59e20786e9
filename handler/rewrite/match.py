"""Which staged file or folder a path of somebody else's machine means: the one whose trailing components agree best.

``/data/cats/images`` means ``images`` where the dataset has one, and ``cats/images`` before any other ``images``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from handler.stage.tree import StagedTree

_DRIVE = re.compile(r"[A-Za-z]:")


class AmbiguousPathError(Exception):
    """A path that several staged files or folders fit equally well."""

    def __init__(self, candidates: Iterable[str]) -> None:
        self.candidates = tuple(sorted(candidates))
        super().__init__(f"fits {' and '.join(self.candidates)} equally well")


@lru_cache(maxsize=4096)
def components(path: str) -> tuple[str, ...]:
    """Return the parts of a Linux or Windows path, without a drive, and with ``.`` and ``..`` carried out."""
    parts: list[str] = []
    for part in re.split(r"[/\\]", path.strip()):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return tuple(parts[1:] if parts and _DRIVE.fullmatch(parts[0]) else parts)


class Matcher:
    """Finds what paths mean in one staged tree. Results are relative to its root; the root itself is ``""``."""

    def __init__(self, tree: StagedTree) -> None:
        self._name = tree.name
        self._files = self._by_last_component(tree.files)
        self._folders = self._by_last_component(tree.folders)
        if tree.name:
            self._folders[tree.name].append("")

    def file(self, path: str) -> str | None:
        """Return the file that ``path`` means, or None. Raises AmbiguousPathError."""
        return self._best(self._files, components(path))

    def folder(self, path: str) -> str | None:
        """Return the folder that ``path`` means, or None. Raises AmbiguousPathError."""
        parts = components(path)
        return self._best(self._folders, parts) if parts else ""

    @staticmethod
    def _by_last_component(paths: Iterable[str]) -> defaultdict[str, list[str]]:
        index = defaultdict(list)
        for path in paths:
            index[path.rpartition("/")[2]].append(path)
        return index

    def _best(self, index: dict[str, list[str]], parts: tuple[str, ...]) -> str | None:
        candidates = index.get(parts[-1], []) if parts else []
        if not candidates:
            return None
        ranks = {candidate: self._rank(candidate, parts) for candidate in candidates}
        highest = max(ranks.values())
        best = [candidate for candidate, rank in ranks.items() if rank == highest]
        if len(best) > 1:
            raise AmbiguousPathError(best)
        return best[0]

    def agreement(self, path: str, staged: str) -> int:
        """Return how many trailing components ``path`` and ``staged``, with the dataset's name before it, share."""
        return self._common(staged, components(path))

    def _rank(self, candidate: str, parts: tuple[str, ...]) -> tuple[int, bool, int]:
        """Most components in common first, then what is named from the dataset's root on, then the longest of those."""
        length = candidate.count("/") + 1 if candidate else 0
        common = self._common(candidate, parts)
        return common, common >= length, length if common >= length else 0

    def _common(self, candidate: str, parts: tuple[str, ...]) -> int:
        own = (self._name, *(candidate.split("/") if candidate else ()))
        pairs = zip(reversed(own), reversed(parts), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
