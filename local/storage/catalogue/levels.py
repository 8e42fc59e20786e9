"""The older listing ordered by a time, in which as in the one ordered by name upper and lower case are one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.storage.catalogue.listing import BEHIND_ALL, Folder
from local.storage.catalogue.objects import stored_object

if TYPE_CHECKING:
    import sqlite3

    from local.storage.catalogue.records import StoredObject

_STATEMENT = "SELECT * FROM objects WHERE bucket = ? AND folded >= ? AND folded < ? ORDER BY key"


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a bucket's tree: what begins with ``prefix``, down to the next slash."""

    bucket: str
    prefix: str
    by_update: bool
    descending: bool

    def entries(self, connection: sqlite3.Connection) -> list[StoredObject | Folder]:
        """Return the folders by name, and behind them the objects by time."""
        last, prefix = self.prefix.count("/"), self.prefix.lower()
        folders: set[str] = set()
        objects: list[StoredObject] = []
        for row in connection.execute(_STATEMENT, (self.bucket, prefix, prefix + BEHIND_ALL)):
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
