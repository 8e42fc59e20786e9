"""Resumable uploads: announcing them, taking their bytes, and making objects of them.

The bytes go straight to the file of the version that they will be, so what has arrived is kept whatever happens next;
the file's length is the upload's offset, and there is no other record of it.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from local.storage import jsonb, names, refusals, times
from local.storage.catalogue.records import Content, Upload
from local.storage.exchange import exchange_of
from local.storage.gap import CREATION_GAP
from local.storage.tus.headers import format_metadata, parse_metadata
from local.storage.tus.identity import UploadId

if TYPE_CHECKING:
    from starlette.requests import Request

    from local.storage.callers import Caller
    from local.storage.catalogue.records import Bucket
    from local.storage.services import Services
    from local.storage.tus.locks import Hold

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a creation says. ``length`` is None where it is to be said later."""

    metadata: dict[str, str | None]
    length: int | None
    upsert: bool
    with_body: bool
    version: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def identity(self) -> UploadId:
        """Which upload it will be."""
        return UploadId(self.metadata.get("bucketName") or "", self.metadata.get("objectName") or "", self.version)

    def kept_metadata(self) -> str:
        """Return the header that is shown from now on: what was sent, with the cache control spelt out."""
        seconds = self.metadata.get("cacheControl") or ""
        spelt = f"max-age={seconds}" if seconds.removeprefix("-").isdecimal() else "no-cache"
        return format_metadata({**self.metadata, "cacheControl": spelt})


@dataclass(frozen=True, slots=True)
class Announced:
    """An upload that was announced, and the headers to say so with."""

    identity: UploadId
    headers: Headers


class Resumables:
    """The uploads of one server."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def create(self, request: Request, who: Caller, announced: Announcement) -> Announced:
        """Announce an upload, and take the bytes that come with it. Raises a refusal."""
        identity = announced.identity
        bucket = self._store.buckets.get(identity.bucket)
        if announced.length is not None and announced.length > self._services.size_limit(bucket):
            raise _too_large()
        self._permit(identity, who, upsert=announced.upsert)
        jsonb.from_text(announced.metadata.get("metadata"))
        content_type = announced.metadata.get("contentType")
        if content_type and bucket.allowed_mime_types:
            names.check_type(content_type, bucket.allowed_mime_types)
        names.check_path(identity.key, f"stub/{identity.bucket}/{identity.key}/{identity.version}")
        upload = Upload(
            identity.version,
            identity.bucket,
            identity.key,
            announced.length,
            announced.kept_metadata(),
            times.now(),
        )
        async with self._services.locks.hold(upload.version) as hold:
            self._store.blobs.create(upload.version)
            self._store.uploads.add(upload)
            offset = 0
            if announced.with_body:
                offset = await self._take(request, upload, self._room(request, upload, bucket, 0), hold)
        found = await self._reached(request, upload, offset)
        if not announced.with_body:
            del found["upload-offset"]
        return Announced(identity, found)

    async def append(self, request: Request, who: Caller, identity: UploadId) -> Headers:
        """Take more bytes and return the headers that say how far the upload has come. Raises a refusal."""
        exchange_of(request.scope).target = f"{identity.bucket}/{identity.key}"
        self._known(identity)
        self._permit(identity, who, upsert=request.headers.get("x-upsert") == "true")
        bucket = self._store.buckets.get(identity.bucket)
        async with self._services.locks.hold(identity.version) as hold:
            upload, offset = self._known(identity)
            self._check_expiry(upload)
            if offset != int(request.headers["upload-offset"]):
                raise refusals.tus(409, "Upload-Offset conflict\n")
            upload = self._with_length(request, upload, bucket, offset)
            offset = await self._take(request, upload, self._room(request, upload, bucket, offset), hold)
        return await self._reached(request, upload, offset)

    async def state(self, identity: UploadId) -> tuple[Upload, int]:
        """Return an upload and its offset, after whoever works on it has ended. Raises a refusal."""
        async with self._services.locks.hold(identity.version):
            upload, offset = self._known(identity)
        self._check_expiry(upload)
        return upload, offset

    async def terminate(self, identity: UploadId, who: Caller, *, upsert: bool) -> None:
        """Drop an unfinished upload and its bytes. Raises a refusal."""
        self._known(identity)
        self._permit(identity, who, upsert=upsert)
        async with self._services.locks.hold(identity.version):
            upload, offset = self._known(identity)
            if offset == upload.length:
                raise refusals.tus(400, "Cannot terminate an already completed upload")
            self._store.uploads.remove(upload.version)
            self._store.blobs.remove(upload.version)

    def _known(self, identity: UploadId) -> tuple[Upload, int]:
        upload = self._store.uploads.find(identity.version)
        if upload is None or (upload.bucket, upload.key) != (identity.bucket, identity.key):
            raise refusals.tus(404, "The file for this url was not found\n")
        size = self._store.blobs.size(upload.version)
        if size is None:
            raise _gone()
        return upload, size

    def _permit(self, identity: UploadId, who: Caller, *, upsert: bool) -> None:
        """Raise a refusal unless the caller may write the object now. It is asked before each body, never after one."""
        if not who.privileged:
            raise refusals.row_denied()
        if self._store.buckets.find(identity.bucket) is None:
            raise refusals.no_such_relation()
        if not upsert and self._store.objects.find(identity.bucket, identity.key) is not None:
            raise refusals.exists("KeyAlreadyExists")

    def _check_expiry(self, upload: Upload) -> None:
        expiry = self._services.options.upload_expiry
        if expiry and times.now() > upload.created + expiry * 1_000_000:
            raise _gone()

    def _with_length(self, request: Request, upload: Upload, bucket: Bucket, offset: int) -> Upload:
        """Return the upload with the length that a later request may say for the first time."""
        if "upload-length" not in request.headers:
            return upload
        length = int(request.headers["upload-length"])
        if upload.length is not None or length < offset:
            raise refusals.tus(400, "Upload-Length or Upload-Defer-Length header required\n")
        if length > self._services.size_limit(bucket):
            raise _too_large()
        self._store.uploads.set_length(upload.version, length)
        return Upload(upload.version, upload.bucket, upload.key, length, upload.metadata, upload.created)

    def _room(self, request: Request, upload: Upload, bucket: Bucket, offset: int) -> int:
        """Return how many bytes the body may have. Raises a refusal if it says that it has more."""
        end = self._services.size_limit(bucket) if upload.length is None else upload.length
        if int(request.headers.get("content-length", "0")) > end - offset:
            raise refusals.tus(413, "upload's size exceeded\n")
        return end - offset

    async def _take(self, request: Request, upload: Upload, room: int, hold: Hold) -> int:
        """Write the body behind what is there, and return the offset. A body that ends early is no error."""
        blobs = self._store.blobs
        await self._read_again(upload)
        with blobs.open(upload.version) as blob:
            try:
                async with hold.until_asked():
                    async for block in request.stream():
                        room -= len(block)
                        if room < 0:
                            raise _too_large()
                        blob.append(block)
            except (ClientDisconnect, TimeoutError):
                pass
            finally:
                blobs.keep_digest(upload.version, blob)
        return blob.size

    async def _read_again(self, upload: Upload) -> None:
        """Have the MD5 of what an earlier server process wrote. It takes a while, so other requests go on meanwhile."""
        if not self._store.blobs.remembers(upload.version):
            await asyncio.to_thread(self._store.blobs.read_again, upload.version)

    async def _reached(self, request: Request, upload: Upload, offset: int) -> Headers:
        """Make the object if the last byte is there, and return the headers that say how far the upload has come."""
        found = {"upload-offset": str(offset)}
        exchange = exchange_of(request.scope)
        if offset == upload.length and not (exchange.skip_commit and exchange.received):
            if request.headers.get("x-upsert") != "true":
                await asyncio.sleep(CREATION_GAP)
            await self._finish(upload, offset)
            return {**found, "tus-complete": "1"}
        expiry = self._services.options.upload_expiry
        if expiry and offset != upload.length:
            found["upload-expires"] = times.http_date(upload.created + int(expiry * 1_000_000))
        return found

    async def _finish(self, upload: Upload, size: int) -> None:
        said = parse_metadata(upload.metadata)
        user_metadata = jsonb.from_text(said.get("metadata"))
        await self._read_again(upload)
        md5 = self._store.blobs.finish(upload.version)
        content = Content(
            upload.version,
            size,
            self._store.etag(md5, size, resumable=True),
            said.get("contentType") or "application/octet-stream",
            said.get("cacheControl") or "no-cache",
            times.now(),
            user_metadata,
        )
        self._store.publish(upload.bucket, upload.key, content)


def _gone() -> refusals.RefusedError:
    return refusals.tus(410, "The file for this url no longer exists\n")


def _too_large() -> refusals.RefusedError:
    return refusals.tus(413, "Maximum size exceeded\n")
