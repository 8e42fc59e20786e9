"""By what one knows that a file is the object: its SHA-256, which Ferry writes into the object's own record."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from shared.storage.records import ObjectRecord


@dataclass(frozen=True, slots=True)
class Proof:
    """A digest in hex, by ``hashlib``'s name for how it is made."""

    algorithm: str
    digest: str

    def holds(self, path: Path) -> bool:
        """Return whether the file at ``path`` has this digest."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.digest


def proof_of(record: ObjectRecord, sha256: str | None) -> Proof | None:
    """Return the best proof there is: the manifest's, the record's own, the server's MD5; None where there is none."""
    told = sha256 or record.metadata.get("sha256")
    if told:
        return Proof("sha256", told)
    return Proof("md5", record.md5) if record.md5 else None
