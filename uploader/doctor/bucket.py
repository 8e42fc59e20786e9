"""One bucket: whether it does what Ferry needs. Whatever is tried there is removed again."""

from __future__ import annotations

import time
import uuid
from bisect import bisect_left
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.sizes import shown
from shared.storage.addresses import uploads_url
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from uploader.doctor.checks import Check, doubtful, fine, wrong
from uploader.parcel import content_type
from uploader.sending import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.storage.client import Storage
    from shared.storage.records import BucketRecord
    from uploader.doctor.checks import Finding

# What people set as a limit, from a megabyte to the most that Supabase takes.
SIZES = tuple(count << power for power in (20, 30) for count in (1, 2, 5, 10, 20, 50, 100, 200, 500))
# A LoRA of a large model in full precision; less may be enough.
ENOUGH_BYTES = 2 << 30
SLOW_BYTES = 1 << 20
_CONTENT = b"Ferry's doctor tries whether this can be written.\n"
_RAISE = "raise the file size limit of the bucket and of the project in Supabase's Storage settings."
# A file of each kind that a training leaves behind.
_WRITTEN = {
    "checkpoints": "x.safetensors",
    "samples": "x.jpg",
    "videos": "x.mp4",
    "logs": "x.log",
    "documents": "x.json",
}


def bucket_checks(url: str, storage: Storage, name: str, access: Check) -> Iterator[Check]:
    """Yield what there is to ask of the bucket ``name`` of the project at ``url``, given that there is ``access``."""
    there = Check("bucket", lambda: check_bucket(storage.bucket(name)), name, access)
    rights = Check("rights", lambda: try_rights(storage, storage.bucket(name)), name, there)
    yield there
    yield Check("types", lambda: check_types(storage.bucket(name)), name, there)
    yield rights
    yield Check("limit", lambda: ask_limit(storage, storage.bucket(name)), name, rights)
    yield Check("large", lambda: try_large(url, storage, storage.bucket(name), time.monotonic), name, rights)


def check_bucket(bucket: BucketRecord) -> Finding:
    """Return what the bucket's record says."""
    limit = "" if bucket.file_size_limit is None else f", with a limit of {shown(bucket.file_size_limit)} a file"
    seen = "public: everybody can read what lies in it" if bucket.public else "private"
    return fine(f"it is there, {seen}{limit}")


def check_types(bucket: BucketRecord) -> Finding:
    """Return whether the bucket takes every kind of file that a training leaves behind."""
    refused = [what for what, name in _WRITTEN.items() if not bucket.allows(_type(name))]
    if not refused:
        return fine("all kinds of files are allowed")
    allowed = ", ".join(bucket.allowed_mime_types or ())
    return wrong(f"{allowed} alone are allowed, not {', '.join(refused)}", "Clear the bucket's allowed MIME types.")


def ask_limit(storage: Storage, bucket: BucketRecord) -> Finding:
    """Return how large a file Storage takes, by announcing some. No record tells the project's own limit.

    Raises StorageError.
    """
    takes = partial(storage.takes, bucket.name, content_type=_allowed_type(bucket))
    own = bucket.file_size_limit
    if own and takes(own):
        largest, told = own, f"files of up to {shown(own)} are taken, which is the bucket's own limit"
    else:
        refused = bisect_left(SIZES, True, key=lambda size: not takes(size))
        largest = SIZES[refused - 1] if refused else 0
        more = f", of {shown(SIZES[refused])} no more" if refused < len(SIZES) else ""
        told = f"files of {shown(largest)} are taken{more}"
    return fine(told) if largest >= ENOUGH_BYTES else doubtful(told, f"If checkpoints may be larger: {_RAISE}")


def try_rights(storage: Storage, bucket: BucketRecord) -> Finding:
    """Do everything that Ferry does with objects to one of its own. Raises StorageError."""
    folder = f".ferry-doctor-{uuid.uuid4().hex}"
    key, moved, sign = f"{folder}/a", f"{folder}/b", {"sha256": uuid.uuid4().hex}
    kind = _allowed_type(bucket)
    try:
        storage.put(bucket.name, key, BytesBody(_CONTENT), content_type=kind, metadata=sign)
        listed = [record.key for record in storage.folder(bucket.name, folder).files]
        storage.move(bucket.name, key, moved)
        record = storage.info(bucket.name, moved)
        content = storage.read(bucket.name, moved)
    except StorageError:
        with suppress(StorageError):
            storage.remove(bucket.name, [key, moved])
        raise
    storage.remove(bucket.name, [moved])
    if listed != [key] or content != _CONTENT or record is None or record.metadata != sign:
        return wrong("what was uploaded is not what came back", "Look at what stands between this machine and Storage.")
    if storage.info(bucket.name, moved) is not None:
        return wrong(f"nothing can be deleted: {moved} is still there", "Allow it in the policies of Storage.")
    return fine("uploading, listing, moving, reading and deleting work")


def try_large(url: str, storage: Storage, bucket: BucketRecord, clock: Callable[[], float]) -> Finding:
    """Send a chunk as large files are sent, and drop it again. Raises StorageError."""
    key = f".ferry-doctor-{uuid.uuid4().hex}"
    host = urlsplit(uploads_url(url)).hostname or url
    try:
        # With a byte that never comes, so that there is never an object.
        upload = storage.create_upload(
            bucket.name, key, CHUNK_BYTES + 1, content_type=_allowed_type(bucket), metadata={}
        )
        begun = clock()
        reached = _send_chunk(storage, upload.url)
    except StorageError as error:
        if error.trouble is Trouble.UNREACHABLE:
            return wrong(f"large files go to {host}, which cannot be reached", f"Let this machine reach {host}.")
        if error.trouble is Trouble.TOO_LARGE:
            proxy = "what a proxy before Storage takes in one request, if there is one, and"
            return wrong(f"{host} refuses a chunk of {shown(CHUNK_BYTES)}", f"Raise {proxy} {_RAISE}")
        raise
    speed = reached / max(clock() - begun, 0.001)
    told = f"a chunk of {shown(reached)} went to {host} at {shown(speed)}/s"
    if speed >= SLOW_BYTES:
        return fine(told)
    minutes = (1 << 30) / speed / 60
    return doubtful(told, f"A checkpoint of 1 GiB takes {minutes:.0f} minutes: choose a worker nearer to your project.")


def _send_chunk(storage: Storage, upload: str) -> int:
    try:
        return storage.append(upload, 0, BytesBody(bytes(CHUNK_BYTES)))
    finally:
        with suppress(StorageError):
            storage.terminate(upload)


def _type(name: str) -> str:
    return content_type(name).partition(";")[0]


def _allowed_type(bucket: BucketRecord) -> str:
    """Return a type that the bucket takes, whatever that is."""
    kinds = [_type(name) for name in _WRITTEN.values()]
    pattern = (bucket.allowed_mime_types or ("",))[0].strip().replace("*", "x")
    return next((kind for kind in kinds if bucket.allows(kind)), pattern)
