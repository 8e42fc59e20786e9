"""The older listing ordered by a time. It looks for its prefix in another way than the one ordered by name does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.storage.catalogue.listing import Folder
from local.storage.catalogue.objects import stored_object

if TYPE_CHECKING:
    import sqlite3

    from local.storage.catalogue.records import StoredObject

# As on the real server the prefix is a pattern, in which case does not count and "_" stands for any character.
_LIKE = "SELECT * FROM objects WHERE bucket = ? AND key LIKE ? || '%' ORDER BY key"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a bucket's tree: what matches ``prefix``, down to the next slash."""

    bucket: str
    prefix: str
    by_update: bool
    descending: bool

    def entries(self, connection: sqlite3.Connection) -> list[StoredObject | Folder]:
        """Return the folders by name, and behind them the objects by time."""
        last = self.prefix.count("/")
        folders: set[str] = set()
        objects: list[StoredObject] = []
        for row in connection.execute(_LIKE, (self.bucket, self.prefix)):
            segments = row["key"].split("/")
            if len(segments) == last + 1:
                objects.append(stored_object(row))
            else:
                folders.add("/".join(segments[: last + 1]))
        objects.sort(key=lambda entry: entry.updated if self.by_update else entry.created, reverse=self.descending)
        names = sorted(folders, key=_as_read, reverse=self.descending)
        return [*(Folder(name) for name in names), *objects]


def _as_read(name: str) -> tuple[str, str]:
    """Return what orders names as people do: case decides only between names that differ in nothing else."""
    return name.lower(), name.swapcase()
