"""The paper work of a run at Storage: claim, what lies there already, ``status.json``, the manifest.

Each function is one piece of work for a desk. They wait for Storage, so they run in a lane of their own.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, MANIFESTS, STATUS, Manifest
from shared.storage.body import BytesBody, FileRange
from shared.storage.errors import StorageError, Trouble
from uploader import manifest as manifests
from uploader.fingerprint import both_of

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.bucket import Status
    from uploader.claim import Claims
    from uploader.ledger import Ledger
    from uploader.run import Run
    from uploader.sending import Courier

JSON = "application/json"
_LARGEST_MANIFEST = 1 << 30
_PAGE = 1000
# A fact of the ledger: our own manifest is, or may be, in the bucket.
PUBLISHED = "manifest"


class Office:
    """The documents of one run at Storage."""

    def __init__(self, run: Run, ledger: Ledger, claims: Claims, courier: Courier) -> None:
        self._run = run
        self._ledger = ledger
        self._claims = claims
        self._courier = courier
        self._storage = courier.storage

    def prepare(self) -> None:
        """Before the first object: put an earlier session's manifest aside, and learn what lies there already."""
        self._claims.assure(now=True)
        self._courier.retry(self._put_aside)
        if self._ledger.is_new:
            self._courier.retry(self._take_stock)

    def publish_status(self, status: Status) -> None:
        """Write ``status.json``."""
        self._claims.assure(now=True)
        self._courier.retry(lambda: self._put(STATUS, status.dump()))

    def publish_manifest(self, status: Status, manifest: Manifest) -> str:
        """Write the last ``status.json``, then the manifest, and return the manifest's key."""
        self.publish_status(status)
        key = keys.join(self._run.prefix, MANIFEST)
        file = self._run.state / f".{MANIFEST}"
        manifests.write(file, manifest, manifests.entries(self._run, self._ledger))
        self._ledger.set_fact(PUBLISHED, "1")
        self._claims.assure(now=True)
        try:
            self._courier.retry(lambda: self._put_file(key, file))
        finally:
            file.unlink(missing_ok=True)
        return key

    def withdraw_manifest(self) -> None:
        """Take our own manifest away, because something that it lists is about to change."""
        self._claims.assure(now=True)
        key = keys.join(self._run.prefix, MANIFEST)
        self._courier.retry(lambda: self._storage.remove(self._run.bucket, [key]))
        self._ledger.set_fact(PUBLISHED, "")

    def _put_aside(self) -> None:
        """Move the manifest of an earlier session to ``manifests/``, with its successor's name in it.

        The copy with the name is written first: at no moment is there a manifest that lists what is gone, and at none
        is the old one lost.
        """
        key = keys.join(self._run.prefix, MANIFEST)
        content = self._storage.read(self._run.bucket, key, limit=_LARGEST_MANIFEST)
        old = Manifest.parse(content) if content else None
        if old is None or old.session_id == self._run.session_id:
            return
        kept = old.model_copy(update={"successor": self._run.session_id})
        self._put(f"{MANIFESTS}/{keys.escape_segment(old.session_id)}.json", kept.dump())
        self._storage.remove(self._run.bucket, [key])

    def _take_stock(self) -> None:
        below = len(self._run.prefix) + 1 if self._run.prefix else 0
        records = self._storage.walk(self._run.bucket, self._run.prefix)
        objects = ((record.key[below:], record.size, record.etag) for record in records)
        while page := list(islice(objects, _PAGE)):
            self._ledger.add_objects(page)

    def _put(self, name: str, content: bytes) -> None:
        key = keys.join(self._run.prefix, name)
        self._storage.put(self._run.bucket, key, BytesBody(content), content_type=JSON, metadata={})

    def _put_file(self, key: str, path: Path) -> None:
        size = path.stat().st_size
        self._storage.put(self._run.bucket, key, FileRange(path, 0, size), content_type=JSON, metadata={})
        record = self._storage.info(self._run.bucket, key)
        with path.open("rb") as file:
            digest = both_of(file, size, self._courier.alive)
        if record is None or record.size != size or record.md5 not in {None, digest.md5}:
            raise StorageError(
                Trouble.BROKEN, f"Verifying {key}", "the server's record does not match what was sent", transient=True
            )
