"""Which staged folder a folder of the configuration means, where several of them want the same one.

``/path/to/images/folder`` and ``/path/to/control/folder`` both end like the staged ``control/folder``; it belongs to
the one that agrees with more of it. Two folders that were told apart never become one unnoticed: a control picture
would be its own target.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from handler.rewrite.match import AmbiguousPathError, Matcher, components
from handler.rewrite.rules import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from handler.rewrite.paths import Reference

FOLDERS = frozenset({Kind.TRAINING, Kind.FOLDER})


class Folders:
    """The folders of one configuration. ``named`` puts the configuration's name in for ``[name]``."""

    def __init__(self, references: Iterable[Reference], matcher: Matcher, named: Callable[[str], str]) -> None:
        self._matcher = matcher
        self._named = named
        self._claims: defaultdict[str, list[Reference]] = defaultdict(list)
        for reference in references:
            if reference.kind in FOLDERS:
                self._claim(reference)

    def meaning(self, reference: Reference) -> str | None:
        """Return the staged folder, or None where there is none or another reference fits it better.

        Raises AmbiguousPathError.
        """
        staged = self._matcher.folder(self._named(reference.text))
        if staged is None:
            return None
        agreement = self._agreement(reference, staged)
        beaten = any(self._agreement(rival, staged) > agreement for rival in self.rivals(reference, staged))
        return None if beaten else staged

    def take_root(self, reference: Reference) -> str:
        """Note that ``reference``, which no folder fits, means the whole dataset."""
        self._claims[""].append(reference)
        return ""

    def rivals(self, reference: Reference, staged: str) -> list[Reference]:
        """Return what else is written as another folder than ``reference``, although it would mean the same."""
        return [
            other
            for other in self._claims[staged]
            if Kind.TRAINING in {reference.kind, other.kind} and not self._same(reference, other)
        ]

    def _claim(self, reference: Reference) -> None:
        try:
            staged = self._matcher.folder(self._named(reference.text))
        except AmbiguousPathError:
            return
        if staged is not None:
            self._claims[staged].append(reference)

    def _agreement(self, reference: Reference, staged: str) -> int:
        return self._matcher.agreement(self._named(reference.text), staged)

    def _same(self, one: Reference, other: Reference) -> bool:
        """Return whether two paths agree as far as both go; the whole dataset agrees only with itself."""
        parts = (components(self._named(one.text)), components(self._named(other.text)))
        shorter, longer = sorted(parts, key=len)
        return longer == shorter or (bool(shorter) and longer[len(longer) - len(shorter) :] == shorter)
