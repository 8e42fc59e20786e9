"""Looks at the bucket after every exchange that may have changed it: what a manifest lists must be there, always."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, Manifest

if TYPE_CHECKING:
    from starlette.types import Scope

    from local.storage.catalogue.store import Store

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Witness:
    """What is seen of one bucket from inside the server, in the server's own thread.

    ``manifests`` counts the looks that found one; ``lies`` are the entries that were not true.
    """

    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = ""
        # A version, once published, never changes.
        self._digests: dict[str, str] = {}
        self.manifests = 0
        self.lies: list[str] = []

    def watch(self, prefix: str) -> None:
        """Look at the manifest below ``prefix`` from now on."""
        self._prefix = prefix
        self._digests.clear()
        self.manifests = 0
        self.lies = []

    def look(self, scope: Scope) -> None:
        """Check the manifest after the exchange of ``scope``."""
        if scope["method"] not in _CHANGING:
            return
        content = self._read(keys.join(self._prefix, MANIFEST))
        if content is None:
            return
        self.manifests += 1
        manifest = Manifest.parse(content)
        if manifest is None:
            self.lies.append("what lies there is no manifest")
            return
        for entry in manifest.files:
            digest = self._digest(entry.key)
            if digest != entry.sha256:
                after = f"after {scope['method']} {scope['path']}"
                self.lies.append(f"{entry.key} is {'missing' if digest is None else 'another'} {after}")

    def _digest(self, key: str) -> str | None:
        found = self._store.objects.find(self._bucket, key)
        if found is None:
            return None
        version = found.content.version
        if version not in self._digests:
            self._digests[version] = hashlib.sha256(self._read(key) or b"").hexdigest()
        return self._digests[version]

    def _read(self, key: str) -> bytes | None:
        found = self._store.objects.find(self._bucket, key)
        return None if found is None else self._store.blobs.path(found.content.version).read_bytes()
