"""What must be as if nothing had happened, held against what is in the bucket and on the disk at the end."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shared.contract.bucket import MANIFEST, MANIFESTS, Manifest
from shared.contract.upload import Upload
from tests.scenario.steps.story import BUCKET, DELETED, EARLIER, Story

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.storage.client import Storage

# Of a file that was on its way when its uploader was interrupted, as much may be sent again.
CHUNK = 6 << 20
_DOCUMENTS = ("claims/", "manifests/", "manifest.json", "status.json")


def reckon(story: Story, storage: Storage, received: Callable[[str, str], int]) -> list[str]:
    """Return everything that is wrong. ``received``: how many bytes reached the server for an object."""
    manifest = Manifest.parse(storage.read(BUCKET, story.key(MANIFEST)) or b"")
    if manifest is None:
        return ["there is no manifest"]
    return [
        *_missing(story, manifest),
        *_objects(story, storage, manifest),
        *_sent_again(story, received),
        *_left_behind(story, storage),
    ]


def _missing(story: Story, manifest: Manifest) -> Iterator[str]:
    """Hold the word on what is missing against what may be: a file whose only holder was killed, before it was copied.

    Such a file is no longer looked for.
    """
    missing = [entry.path for entry in manifest.missing]
    may_be_lost = story.crew.starts > 1 and not story.was_spooled
    lost = [DELETED] if missing == [DELETED] and may_be_lost else []
    if lost:
        del story.cargo[story.key(f"checkpoints/{DELETED.partition('/')[2]}")]
    if missing != lost:
        yield f"named as missing: {missing}"
    upload = Upload.read(story.folder.upload_file)
    receipt = upload.receipt if upload else None
    if manifest.complete is bool(lost) or receipt is None or receipt.complete is bool(lost):
        yield f"complete: {manifest.complete}, {receipt}"


def _objects(story: Story, storage: Storage, manifest: Manifest) -> Iterator[str]:
    there = {record.key for record in storage.walk(BUCKET, story.prefix)}
    listed = {entry.key: entry.sha256 for entry in manifest.files}
    for key, cargo in story.cargo.items():
        wanted = hashlib.sha256(cargo.content).hexdigest()
        if key not in there:
            yield f"lost: {key}"
        elif hashlib.sha256(storage.read(BUCKET, key, limit=1 << 30) or b"").hexdigest() != wanted:
            yield f"corrupt: {key}"
        if listed.get(key) != wanted:
            yield f"false manifest: {key}"
    yield from (f"listed and unknown: {key}" for key in sorted(set(listed) - set(story.cargo)))
    for key in sorted(there - set(story.cargo)):
        if not key.removeprefix(f"{story.prefix}/").startswith(_DOCUMENTS):
            yield f"unknown: {key}"


def _sent_again(story: Story, received: Callable[[str, str], int]) -> Iterator[str]:
    times = story.crew.interruptions
    for key, cargo in story.cargo.items():
        again = received(BUCKET, key) - cargo.sizes
        if again > min(CHUNK, len(cargo.content)) * times:
            yield f"sent again: {again} bytes of {key} for {times} interruptions"


def _left_behind(story: Story, storage: Storage) -> Iterator[str]:
    for path in sorted(story.folder.spool.glob("*")):
        yield f"left in the spool: {path.name}"
    if storage.info(BUCKET, story.key(f"{MANIFESTS}/{EARLIER}.json")) is None:
        yield "lost: the earlier manifest"
