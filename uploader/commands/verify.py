"""``verify``: compares the bucket with its manifests, by the server's records or, ``--deep``, byte by byte."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from shared import keys
from shared.bars import bars
from shared.contract.bucket import MANIFEST, Manifest
from shared.errors import ErrorCode, FerryError
from shared.settings import read_settings
from shared.storage.client import Storage
from uploader.commands.known_runs import places
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace

    from shared.bars import Bars
    from shared.contract.bucket import Entry
    from shared.storage.records import ObjectRecord

_LARGEST_MANIFEST = 1 << 30


def main(options: Namespace) -> int:
    """Check one prefix, or every session's; print what is wrong; return 1 when anything is."""
    settings = read_settings()
    if bool(options.bucket) != (options.prefix is not None):
        raise FerryError(ErrorCode.INVALID_INPUT, "--bucket and --prefix go together.")
    wanted = [(options.bucket, options.prefix.strip("/"))] if options.bucket else sorted(set(places(settings.root)))
    if not wanted:
        print("No sessions here: name a prefix with --bucket and --prefix.")
        return 1
    with Storage(settings.storage) as storage, bars(sys.stderr) as drawn:
        return max(_check(storage, bucket, prefix, drawn if options.deep else None) for bucket, prefix in wanted)


def _check(storage: Storage, bucket: str, prefix: str, deep: Bars | None) -> int:
    """Return 1 when anything is wrong, by the server's records, or by the content, which ``deep`` shows coming in."""
    key = keys.join(prefix, MANIFEST)
    content = storage.read(bucket, key, limit=_LARGEST_MANIFEST)
    manifest = Manifest.parse(content) if content else None
    if manifest is None:
        print(f"{bucket}/{key}: there is no manifest; the run is not finished, or was never delivered.")
        return 1
    reading = None if deep is None else _Reading(storage, bucket, prefix, manifest, deep)
    wrong = 0
    for entry in manifest.files:
        fault = _fault(storage.info(bucket, entry.key), entry)
        if fault is None and reading is not None and reading.digest(entry) != entry.sha256:
            fault = "its content is not what the manifest lists"
        if fault is not None:
            print(f"{bucket}/{entry.key}: {fault}")
            wrong += 1
    for missing in manifest.missing:
        print(on_terminal(f"{bucket}/{prefix}: {missing.path} is missing: {missing.reason}"))
    how = "by the server's records" if reading is None else "by SHA-256"
    print(f"{bucket}/{prefix}: {len(manifest.files) - wrong} of {len(manifest.files)} objects are right, {how}.")
    return 1 if wrong or manifest.missing else 0


def _fault(record: ObjectRecord | None, entry: Entry) -> str | None:
    if record is None:
        return "it is not in the bucket"
    if record.size != entry.size:
        return f"it has {record.size} bytes instead of {entry.size}"
    if record.metadata.get("sha256") not in {None, entry.sha256}:
        return "it is another version than the manifest lists"
    return None


class _Reading:
    """Reads the objects of one manifest, and shows how far it is."""

    def __init__(self, storage: Storage, bucket: str, prefix: str, manifest: Manifest, drawn: Bars) -> None:
        self._storage = storage
        self._bucket = bucket
        self._name = on_terminal(f"{bucket}/{prefix}")
        self._bars = drawn
        self._total = sum(entry.size for entry in manifest.files)
        self._done = 0

    def digest(self, entry: Entry) -> str:
        """Return the SHA-256 of the content that is in the bucket."""
        digest = hashlib.sha256()
        with self._storage.open(self._bucket, entry.key) as download:
            for block in download.blocks():
                digest.update(block)
                self._done += len(block)
                self._bars.show(self._name, self._done, self._total)
        return digest.hexdigest()
