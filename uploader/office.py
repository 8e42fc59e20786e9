"""The paper work of a run at Storage: claim, what lies there already, ``status.json``, the manifest.

Each function is one piece of work for a desk. They wait for Storage, so they run in a lane of their own.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, MANIFESTS, STATUS, Manifest
from shared.storage.body import BytesBody, FileRange
from shared.storage.errors import StorageError, Trouble
from uploader import manifest as manifests
from uploader.fingerprint import both_of
from uploader.kinds import OUTPUT_FOLDERS, nature
from uploader.rows import Stored, StoredFile

if TYPE_CHECKING:
    from pathlib import Path

    from shared.contract.bucket import Status
    from shared.storage.records import ObjectRecord
    from uploader.claim import Claims
    from uploader.courier import Courier
    from uploader.ledger import Ledger
    from uploader.run import Run

JSON = "application/json"
_LARGEST_MANIFEST = 1 << 30
_PAGE = 1000
# A fact of the ledger: our own manifest is, or may be, in the bucket.
PUBLISHED = "manifest"
# A fact of the ledger: what lay under the prefix before is known.
STOCKED = "stocked"
# A fact of the ledger: an earlier one was lost, and with it what it knew of files that lie in the bucket alone.
REBUILT = "rebuilt"
# A fact of the ledger: up to which attempt it is known what earlier sessions, and earlier attempts, left.
_INHERITED = "inherited"


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
        if not self._ledger.fact(STOCKED):
            self._courier.retry(self._take_stock)
            self._ledger.set_fact(STOCKED, "1")
        self._settle_doubts()

    @property
    def has_inherited(self) -> bool:
        """Return whether there is nothing, or nothing more, to learn of what was left before this attempt began."""
        left_behind = self._is_heir or self._run.attempt > 1
        return not left_behind or self._ledger.fact(_INHERITED) == str(self._run.attempt)

    @property
    def _is_heir(self) -> bool:
        return bool(self._run.lineage or self._ledger.fact(REBUILT))

    @property
    def is_rebuilding(self) -> bool:
        """Return whether a ledger that was lost is not made up for yet: a key that seems free may be another file's."""
        return self._ledger.fact(REBUILT) is not None and self._ledger.fact(_INHERITED) is None

    def inherit(self) -> None:
        """Take what this training left before this ledger was made into the ledger, and so into the manifest.

        To be called once the handler has restored what it needs: it puts aside what turns out to be damaged, and at a
        later attempt that may be what is on record already.
        """
        self._claims.assure(now=True)
        if self._is_heir and self._ledger.fact(_INHERITED) is None:
            self._take_heirlooms()
        else:
            self._miss_what_was_put_aside()
        self._ledger.set_fact(_INHERITED, str(self._run.attempt))

    def _take_heirlooms(self) -> None:
        """Record what the server's own records tell to be this training's."""
        for record in self._courier.retry(self._walk):
            self._courier.alive()
            told = self._courier.retry(partial(self._storage.info, self._run.bucket, record.key))
            file = _heirloom(told, self._run) if told is not None else None
            if file is not None:
                self._ledger.inherit(file)

    def _miss_what_was_put_aside(self) -> None:
        """Ask for the checkpoints and logs on record. Unlike elsewhere, others may be on their way meanwhile."""
        for file in self._ledger.restorable():
            self._courier.alive()
            key = keys.join(self._run.prefix, file.key)
            record = self._courier.retry(partial(self._storage.info, self._run.bucket, key))
            if record is None or not _is(record, file.stored):
                self._ledger.put_aside(file)

    def publish_status(self, status: Status) -> None:
        """Write ``status.json``."""
        self._claims.assure(now=True)
        self._courier.retry(lambda: self._put(STATUS, status.dump()))

    def publish_manifest(self, status: Status, manifest: Manifest) -> str:
        """Write the last ``status.json``, then the manifest, and return the manifest's key."""
        self.publish_status(status)
        self._settle_doubts()
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
        if content is None:
            return
        old = Manifest.parse(content)
        if old is None:
            name, kept = f"unknown-{hashlib.sha256(content).hexdigest()[:16]}", content
        elif old.session_id == self._run.session_id:
            # The ledger that knew of it may have been lost.
            self._ledger.set_fact(PUBLISHED, "1")
            return
        else:
            name = keys.fit(keys.escape_segment(old.session_id))
            kept = old.model_copy(update={"successor": self._run.session_id}).dump()
        self._put(f"{MANIFESTS}/{name}.json", kept)
        self._storage.remove(self._run.bucket, [key])

    def _take_stock(self) -> None:
        below = len(self._run.prefix) + 1 if self._run.prefix else 0
        records = self._storage.walk(self._run.bucket, self._run.prefix)
        objects = ((record.key[below:], record.size, record.etag) for record in records)
        while page := list(islice(objects, _PAGE)):
            self._ledger.add_objects(page)

    def _walk(self) -> list[ObjectRecord]:
        below = len(self._run.prefix) + 1 if self._run.prefix else 0
        found = self._storage.walk(self._run.bucket, self._run.prefix)
        return [record for record in found if record.key[below:].partition("/")[0] in OUTPUT_FOLDERS]

    def _settle_doubts(self) -> None:
        """Ask the server about every key that another version may have reached: the manifest lists what is proved."""
        for file in self._ledger.doubtful():
            self._courier.alive()
            key = keys.join(self._run.prefix, file.key)
            record = self._courier.retry(partial(self._storage.info, self._run.bucket, key))
            self._ledger.decide(file, there=record is not None and _is(record, file.stored))

    def _put(self, name: str, content: bytes) -> None:
        key = keys.join(self._run.prefix, name)
        self._courier.put(self._run.bucket, key, BytesBody(content), content_type=JSON, metadata={})

    def _put_file(self, key: str, path: Path) -> None:
        size = path.stat().st_size
        self._courier.put(self._run.bucket, key, FileRange(path, 0, size), content_type=JSON, metadata={})
        record = self._storage.info(self._run.bucket, key)
        with path.open("rb") as file:
            digest = both_of(file, size, self._courier.alive)
        if record is None or record.size != size or record.md5 not in {None, digest.md5}:
            raise StorageError(
                Trouble.BROKEN, f"Verifying {key}", "the server's record does not match what was sent", transient=True
            )


def _heirloom(record: ObjectRecord, run: Run) -> StoredFile | None:
    """Return the object as the session that sent it described it; None where that was none of this training."""
    told = record.metadata
    if told.get("session") not in {run.session_id, *run.lineage} or not told.get("sha256") or not told.get("path"):
        return None
    step, mtime = told.get("step", ""), told.get("mtime", "")
    stored = Stored(
        sha256=told["sha256"],
        size=record.size,
        mtime=float(mtime) if re.fullmatch(r"\d+(\.\d+)?", mtime) else 0.0,
        version=record.version,
        step=int(step) if step.isdecimal() else None,
        at=0.0,
    )
    below = record.key[len(run.prefix) + 1 if run.prefix else 0 :]
    return StoredFile(key=below, path=told["path"], kind=nature(told["path"], run.name).kind, stored=stored)


def _is(record: ObjectRecord, stored: Stored) -> bool:
    if record.size != stored.size:
        return False
    if record.version is not None and stored.version is not None:
        return record.version == stored.version
    return record.metadata.get("sha256") == stored.sha256
