"""The claims under one prefix as the bucket holds them: ``claims/{epoch}.json``, of which the highest is in force.

A claim is made by uploading a token under a name of one's own and moving it there, because moves exclude at the server
and creations do not: exactly one mover wins.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import CLAIMS, Claim
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.storage.client import Storage

_TOKEN = ".token"  # noqa: S105 - a suffix
# Between listing and reading a claim its successor may come and sweep it away.
_MOST_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A claim in the bucket. ``claim`` is None where it says nothing that this version understands."""

    epoch: int
    claim: Claim | None


class Registry:
    """The claims under ``prefix``. Methods raise StorageError."""

    def __init__(self, storage: Storage, bucket: str, prefix: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._folder = keys.join(prefix, CLAIMS)

    def newest(self) -> Entry | None:
        """Return the claim in force; None where nobody has claimed the prefix."""
        for _ in range(_MOST_LOOKS):
            epoch = max(map(_epoch, self._names()), default=0)
            if not epoch:
                return None
            content = self._storage.read(self._bucket, self._key(f"{epoch}.json"))
            if content is not None:
                return Entry(epoch, Claim.parse(content))
        what = f"Reading {self._folder}"
        raise StorageError(Trouble.BROKEN, what, "the claims are gone as soon as they are listed", transient=True)

    def add(self, claim: Claim) -> bool:
        """Put ``claim`` in force; return False when another was quicker. What it supersedes is swept away."""
        own = self._key(f"{claim.token}{_TOKEN}")
        body = BytesBody(claim.dump())
        self._storage.put(self._bucket, own, body, content_type="application/json", metadata={})
        try:
            self._storage.move(self._bucket, own, self._key(f"{claim.epoch}.json"))
        except StorageError as error:
            # Not there any more: whoever was quicker has swept it away.
            if error.trouble not in {Trouble.EXISTS, Trouble.NOT_FOUND}:
                raise
            self._remove([own])
            return False
        # Who was frozen before the move may have put itself where an older claim has been swept away.
        newest = self.newest()
        if newest is None or newest.claim is None or newest.claim.token != claim.token:
            return False
        self._sweep(claim.epoch)
        return True

    def _sweep(self, epoch: int) -> None:
        names = self._names()
        self._remove([self._key(name) for name in names if 0 < _epoch(name) < epoch or name.endswith(_TOKEN)])

    def _remove(self, litter: Sequence[str]) -> None:
        # It harms nobody where it lies, and the next owner sweeps again.
        with suppress(StorageError):
            self._storage.remove(self._bucket, litter)

    def _names(self) -> Sequence[str]:
        listing = self._storage.folder(self._bucket, self._folder)
        return [record.key.rpartition("/")[2] for record in listing.files]

    def _key(self, name: str) -> str:
        return keys.join(self._folder, name)


def _epoch(name: str) -> int:
    """Return the epoch that an object's name stands for; 0 for anything else that lies among the claims."""
    stem, _, suffix = name.partition(".")
    return int(stem) if suffix == "json" and stem.isdecimal() and str(int(stem)) == stem else 0
