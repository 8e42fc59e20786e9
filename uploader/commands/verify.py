"""``verify``: compares the bucket with its manifests, by the server's records or, ``--deep``, byte by byte."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared import keys
from shared.contract.bucket import MANIFEST, Manifest
from shared.errors import ErrorCode, FerryError
from shared.settings import read_settings
from shared.storage.client import Storage
from uploader.commands.known_runs import places
from uploader.paths import on_terminal

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from shared.contract.bucket import Entry

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
    with Storage(settings.storage) as storage:
        return max(_check(storage, bucket, prefix, deep=options.deep) for bucket, prefix in wanted)


def _check(storage: Storage, bucket: str, prefix: str, *, deep: bool) -> int:
    key = keys.join(prefix, MANIFEST)
    content = storage.read(bucket, key, limit=_LARGEST_MANIFEST)
    manifest = Manifest.parse(content) if content else None
    if manifest is None:
        print(f"{bucket}/{key}: there is no manifest; the run is not finished, or was never delivered.")
        return 1
    wrong = 0
    for entry in manifest.files:
        for fault in _faults(storage, bucket, entry, deep=deep):
            print(f"{bucket}/{entry.key}: {fault}")
            wrong += 1
    for missing in manifest.missing:
        print(on_terminal(f"{bucket}/{prefix}: {missing.path} is missing: {missing.reason}"))
    how = "by SHA-256" if deep else "by the server's records"
    print(f"{bucket}/{prefix}: {len(manifest.files) - wrong} of {len(manifest.files)} objects are right, {how}.")
    return 1 if wrong or manifest.missing else 0


def _faults(storage: Storage, bucket: str, entry: Entry, *, deep: bool) -> Iterator[str]:
    record = storage.info(bucket, entry.key)
    if record is None:
        yield "it is not in the bucket"
    elif record.size != entry.size:
        yield f"it has {record.size} bytes instead of {entry.size}"
    elif record.metadata.get("sha256") not in {None, entry.sha256}:
        yield "it is another version than the manifest lists"
    elif deep and _digest(storage, bucket, entry.key) != entry.sha256:
        yield "its content is not what the manifest lists"


def _digest(storage: Storage, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    with storage.open(bucket, key) as download:
        for block in download.blocks():
            digest.update(block)
    return digest.hexdigest()
