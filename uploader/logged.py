"""What the trainer logged as saved, held against what was seen: steps that it named late, files that nobody saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import folders
from uploader.kinds import named_step
from uploader.settle import CLOCK_SLACK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from shared.contract.session import Saved
    from uploader.ledger import Ledger

# A fact of the ledger: since when (Unix seconds) it has been kept.
_SINCE = "since"


class Logged:
    """The savings of one run. ``skip`` tells which paths are never uploaded, ``key`` where a file goes."""

    def __init__(self, ledger: Ledger, skip: Callable[[str], bool], key: Callable[[str], str]) -> None:
        self._ledger = ledger
        self._skip = skip
        self._key = key
        self._stamped: Mapping[str, Saved] = {}
        self._known: dict[str, float] = {}

    def stamp(self, saved: Mapping[str, Saved]) -> None:
        """Add the steps that the trainer named only after the files had settled."""
        for path, entry in saved.items():
            if entry.step is not None and self._stamped.get(path) != entry:
                self._ledger.stamp(path, entry.step, entry.at + CLOCK_SLACK_SECONDS)
        self._stamped = saved

    def unseen(self, saved: Mapping[str, Saved], there: Callable[[str], bool], now: float) -> Iterator[Saved]:
        """Yield what was saved and has vanished before anybody saw it. ``there``: a path can still be seen.

        ``now`` is Unix seconds.
        """
        since = self._since(now) if saved else now
        for path, entry in saved.items():
            if self._known.get(path) == entry.at:
                continue
            if self._is_known(path) or self._is_skipped(path) or self._was_delivered(entry, since):
                self._known[path] = entry.at
            elif not there(path):
                self._known[path] = entry.at
                yield entry

    def _since(self, now: float) -> float:
        fact = self._ledger.fact(_SINCE)
        if fact is None:
            self._ledger.set_fact(_SINCE, repr(now))
        return now if fact is None else float(fact)

    def _is_known(self, path: str) -> bool:
        """Return whether the file, a part of the folder, or one of the halves that share its name, is in the ledger.

        Of Wan 2.2 the log names a file that neither half is called; only a name with a step stands for nothing else.
        """
        stem = path.rpartition(".")[0] or path
        known = self._ledger.knows(stem if named_step(path) is not None else path)
        return known and not self._is_half_known(path)

    def _is_half_known(self, path: str) -> bool:
        """Return whether a folder was seen only before it was complete. That of a VAE is never marked as complete."""
        marked = not path.endswith(folders.UNMARKED)
        return marked and self._ledger.knows(f"{path}/") and not self._ledger.knows(f"{path}/{folders.LAST}")

    def _is_skipped(self, path: str) -> bool:
        parts = path.split("/")
        return any(self._skip("/".join(parts[:count])) for count in range(1, len(parts) + 1))

    def _was_delivered(self, entry: Saved, since: float) -> bool:
        """Return whether an earlier ledger, which has been lost, may have known the file: there is an object for it."""
        return entry.at < since and self._ledger.known_object(self._key(entry.path)) is not None
