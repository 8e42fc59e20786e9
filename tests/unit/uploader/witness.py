"""A Storage that watches what is done to it: it fails the test at the first write that must never happen."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from shared.contract.bucket import Manifest
from shared.storage.errors import StorageError, Trouble
from tests.unit.uploader.harbour import FakeClock
from tests.unit.uploader.memory_storage import MemoryStorage, Thing, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shared.storage.body import Body
    from tests.unit.uploader.trainer_model import Trainer

# An owner that has lost its claim may not have heard of it for so long.
UNAWARE_SECONDS = 15.0


class Witness(MemoryStorage):
    """One run's prefix, seen from the server's side.

    ``step`` is called before and after everything that counts, and may raise to end the uploader there. ``is_writer``
    tells whether a claim is held by whoever is at work. ``away`` is what every call meets during an outage. ``hits``
    counts what went wrong; ``sent`` the bytes of bodies by key and SHA-256.
    """

    def __init__(self, prefix: str, *, digests: bool) -> None:
        super().__init__(digests=digests)
        self.clock = FakeClock()
        self.trainer: Trainer | None = None
        self.step: Callable[[], None] = lambda: None
        self.is_writer: Callable[[bytes], bool] = lambda claim: False
        self.away: Trouble | None = None
        self.ambush: Callable[[str, int], None] = lambda path, left: None
        self.cut_after: int | None = None
        self.keeps_parts = True
        self.hits = 0
        self.sent: Counter[tuple[str, str]] = Counter()
        self._prefix = prefix
        self.owner: str | None = None
        self._owned_at = 0.0
        self._listed: dict[str, str] = {}

    # What comes in

    def _begin(self, call: str, key: str) -> None:
        self.step()
        if self.away is not None:
            self.hits += 1
            raise trouble(self.away)
        super()._begin(call, key)

    def _hit(self, call: str, key: str, *, after: bool) -> None:
        if after:
            self.step()
        try:
            super()._hit(call, key, after=after)
        except StorageError:
            self.hits += 1
            raise

    def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        upsert: bool = True,
    ) -> None:
        watched = _Watched(self, body, key, metadata)
        super().put(bucket, key, watched, content_type=content_type, metadata=metadata, upsert=upsert)

    def append(self, url: str, offset: int, body: Body) -> int:
        pending = self._pending(url)
        before = len(pending.content)
        try:
            return super().append(url, offset, _Watched(self, body, pending.key, pending.metadata))
        except BaseException:
            # Some servers keep what has arrived of a chunk, some only whole ones.
            if not self.keeps_parts:
                del pending.content[before:]
            raise

    def took(self, key: str, metadata: Mapping[str, str], count: int, left: int) -> None:
        """Take note of a block of a body; ``left`` bytes of it are still to come."""
        self.sent[key, metadata.get("sha256", "")] += count
        assert key not in self._listed, f"{key} is sent while the manifest lists it"
        self.step()
        if self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                self.hits += 1
                raise trouble(Trouble.UNREACHABLE)
        if "path" in metadata and left > 0:
            self.ambush(metadata["path"], left)

    # What becomes of it

    def _store(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        self._check_writer(key, data="path" in metadata)
        if "path" in metadata:
            self._check_content(key, content, metadata)
        super()._store(key, content, metadata)
        self._changed(key)

    def move(self, bucket: str, source: str, target: str) -> None:
        try:
            super().move(bucket, source, target)
        finally:
            self._note_owner()

    def remove(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            if "/claims/" not in key:
                self._check_writer(key, data=False)
        try:
            super().remove(bucket, keys)
        finally:
            for key in keys:
                self._changed(key)

    def overwrite(self, key: str, content: bytes) -> None:
        """Have somebody else write an object."""
        self._number += 1
        self.objects[key] = Thing(content, f"version-{self._number}", {})
        self._changed(key)
        self._note_owner()

    def set_aside(self, key: str) -> None:
        """Have somebody else move an object away."""
        self.objects.pop(key, None)
        self._changed(key)

    def _changed(self, key: str) -> None:
        """Hold the manifest against the bucket: all of it when it is new, else what has changed."""
        manifest_key = f"{self._prefix}/manifest.json"
        if key == manifest_key:
            thing = self.objects.get(key)
            manifest = Manifest.parse(thing.content) if thing else None
            self._listed = {entry.key: entry.sha256 for entry in manifest.files} if manifest else {}
        for listed in self._listed if key == manifest_key else {key} & self._listed.keys():
            there = self.objects.get(listed)
            assert there is not None, f"{listed} is listed and not there"
            digest = hashlib.sha256(there.content).hexdigest()
            assert digest == self._listed[listed], f"{listed} is listed as another version"

    def _check_content(self, key: str, content: bytes, metadata: Mapping[str, str]) -> None:
        assert hashlib.sha256(content).hexdigest() == metadata["sha256"], f"{key} is a mixture"
        incomplete = key.startswith(f"{self._prefix}/incomplete/")
        assert self.trainer is not None
        known = self.trainer.may_be_published(metadata["path"], content, incomplete=incomplete)
        assert known, f"{key} was never a complete version of {metadata['path']}: {content!r}"

    # Who does it

    def _note_owner(self) -> None:
        claims = [key for key in self.objects if key.startswith(f"{self._prefix}/claims/") and key.endswith(".json")]
        newest = max(claims, key=lambda key: int(key.rpartition("/")[2].partition(".")[0]), default=None)
        if newest != self.owner:
            self.owner, self._owned_at = newest, self.clock.monotonic()

    def _check_writer(self, key: str, *, data: bool) -> None:
        if "/claims/" in key or self.owner is None:
            return
        mine = self.is_writer(self.objects[self.owner].content)
        # Before it writes a document, an owner always looks.
        unaware = data and self.clock.monotonic() - self._owned_at <= UNAWARE_SECONDS
        assert mine or unaware, f"{key} is written by somebody who has lost the claim"


class _Watched:
    """A body whose blocks are counted as they arrive."""

    def __init__(self, witness: Witness, inner: Body, key: str, metadata: Mapping[str, str]) -> None:
        self._witness = witness
        self._inner = inner
        self._key = key
        self._metadata = metadata

    @property
    def size(self) -> int:
        """Return the number of bytes."""
        return self._inner.size

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks."""
        left = self._inner.size
        for block in self._inner.blocks():
            left -= len(block)
            yield block
            self._witness.took(self._key, self._metadata, len(block), left)
