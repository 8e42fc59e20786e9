"""What each input path of a configuration means in the staged tree, or what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from handler.config import ConfigError
from handler.config.problems import quoted
from handler.rewrite.beside import Input
from handler.rewrite.folders import FOLDERS, Folders
from handler.rewrite.match import AmbiguousPathError, Matcher, components
from handler.rewrite.models import Models, refuse_foreign
from handler.rewrite.rules import INPUTS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from handler.rewrite.paths import Reference
    from handler.stage.tree import StagedTree
    from shared.layout import SessionFolder

_LOOKS_LIKE_FILE = re.compile(r"\S*(?:[/\\]\S*|\.\w{1,5})")
# What is longer is no path, in whatever encoding.
_LONGEST_STRAY = 1000
# Every one is compared with every other.
_MOST_INPUTS = 500


class Inputs:
    """The inputs of one configuration, looked up. ``problems`` and ``warnings`` are phrases, each naming its key."""

    def __init__(
        self, references: Iterable[Reference], name: str, tree: StagedTree, session: SessionFolder, toolkit: Path
    ) -> None:
        self._name = name
        self._tree = tree
        self._session = session
        self._toolkit = toolkit
        self._matcher = Matcher(tree)
        self._models = Models(session, toolkit, self._matcher)
        self._found: dict[tuple[Kind, str], str] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        references = tuple(references)
        self._folders = Folders(references, self._matcher, self._named)
        trainings = {components(self._named(one.text)) for one in references if one.kind is Kind.TRAINING}
        self._only_training = len(trainings) == 1
        places = Counter((one.kind, one.text) for one in references)
        if sum(kind in INPUTS for kind, _ in places) > _MOST_INPUTS:
            raise ConfigError(f"it names more than {_MOST_INPUTS} different files and folders to train on")
        firsts = {(one.kind, one.text): one for one in reversed(references)}
        for known, count in places.items():
            self._look_up(firsts[known], f" and {count - 1} more" if count > 1 else "")

    def staged(self, reference: Reference) -> str | None:
        """Return what ``reference`` means in the staged tree; None where it stays as it is."""
        return self._found.get((reference.kind, reference.text))

    def all(self) -> tuple[Input, ...]:
        """Return everything that was found."""
        return tuple(Input(kind, self._named(text), staged) for (kind, text), staged in self._found.items())

    def file(self, text: str, folder: str) -> str | None:
        """Return the staged file that ``text`` means, for something written in the staged ``folder``."""
        near = PurePosixPath(folder, text)
        if not near.is_absolute() and str(near) in self._tree.files:
            return str(near)
        try:
            return self._matcher.file(text)
        except AmbiguousPathError:
            return None

    def _named(self, text: str) -> str:
        return text.replace("[name]", self._name)

    def _look_up(self, reference: Reference, more: str) -> None:
        """Find what a path means. ``more`` counts the other places where the same path stands."""
        try:
            staged = self._meaning(reference, self._named(reference.text))
        except (AmbiguousPathError, ValueError) as error:
            self.problems.append(f"{reference.place}{more} ({quoted(reference.text)}) {error}")
        else:
            if staged is not None:
                self._found[reference.kind, reference.text] = staged
                self._check_distinct(reference, staged)
            elif reference.kind is Kind.MODEL and self._models.is_missing(reference.text):
                self.warnings.append(
                    f"{reference.place} ({quoted(reference.text)}) is neither on this worker nor staged"
                )

    def _meaning(self, reference: Reference, text: str) -> str | None:
        """Return the staged path; None for what stays. Raises ValueError for what must be staged and is not."""
        match reference.kind:
            case Kind.TRAINING:
                return self._required(self._training(reference, text))
            case Kind.FOLDER:
                return self._required(self._folders.meaning(reference))
            case Kind.FILE:
                return self._required(self._matcher.file(text))
            case Kind.FILE_OR_TEXT:
                return self._file_or_text(text)
            case Kind.CACHE:
                return self._matcher.file(text)
            case Kind.MODEL:
                return self._models.staged(text)
            case Kind.OTHER:
                self._refuse_foreign(text)
                return None
            case _:
                return None

    @staticmethod
    def _required(staged: str | None) -> str:
        if staged is None:
            raise ValueError("is not in the staged dataset")
        return staged

    def _training(self, reference: Reference, text: str) -> str | None:
        if text.lower().endswith(".json"):
            return self._matcher.file(text)
        folder = self._folders.meaning(reference)
        return self._folders.take_root(reference) if folder is None and self._only_training else folder

    def _file_or_text(self, text: str) -> str | None:
        looks_like_file = bool(_LOOKS_LIKE_FILE.fullmatch(text))
        staged = self._matcher.file(text) if looks_like_file else None
        if staged is None and (text.startswith("/") or (looks_like_file and _leads_out(text))):
            raise ValueError("names a file that is not in the staged dataset")
        return staged

    def _refuse_foreign(self, text: str) -> None:
        """Refuse a text under a key that is no path as far as anyone knows, should it be one that leads astray."""
        if len(text) <= _LONGEST_STRAY:
            refuse_foreign(str(self._toolkit / text), self._session)

    def _check_distinct(self, reference: Reference, staged: str) -> None:
        if reference.kind not in FOLDERS:
            return
        for rival in self._folders.rivals(reference, staged):
            if self.staged(rival) == staged:
                self._told_apart(reference, rival, staged or "the whole dataset")

    def _told_apart(self, one: Reference, other: Reference, staged: str) -> None:
        both = f"{one.place} ({quoted(one.text)}) and {other.place} ({quoted(other.text)})"
        # Only there it is a way of training: a picture that conditions on itself.
        if any(reference.place.endswith(".clip_image_path") for reference in (one, other)):
            self.warnings.append(f"{both} differ, but mean the same staged folder, {staged}")
        else:
            self.problems.append(f"{both} differ, but would mean the same staged folder, {staged}")


def _leads_out(text: str) -> bool:
    return any(part.startswith(".") for part in re.split(r"[/\\]", text))
