"""Standard uploads: a raw body or a form, by POST or PUT, with the caller's token or a signed one."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from local.storage import jsonb, names, refusals, times
from local.storage.answers import as_json
from local.storage.callers import caller
from local.storage.catalogue.records import Content, StoredObject
from local.storage.exchange import exchange_of
from local.storage.gap import CREATION_GAP
from local.storage.routing import route
from local.storage.signatures import UPLOAD, signed_claims

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.catalogue.records import Bucket
    from local.storage.services import Services

_BLOCK = 256 << 10
_CONTENT_TYPE = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(;|$)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request brings: its blocks of bytes, and what it says about them."""

    blocks: AsyncIterator[bytes]
    content_type: str
    cache_control: str
    user_metadata: str | None
    truncated: bool = False


class UploadEndpoints:
    """The routes of standard uploads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def routes(self) -> list[Route]:
        """Return the routes; they must stand behind every other route below ``/object``."""
        return [
            route("/object/upload/sign/{bucket}/{key}", self.upload_signed, "PUT"),
            route("/object/{bucket}/{key}", self.upload, "POST", "PUT"),
        ]

    async def upload(self, request: Request) -> Response:
        """Store the body. PUT overwrites, POST does where ``x-upsert`` says so."""
        _check_content_type(request)
        who = caller(request, self._services.tokens)
        upsert = request.method == "PUT" or request.headers.get("x-upsert") == "true"
        stored = await self._take(request, upsert=upsert, permitted=who.privileged)
        return as_json({"Key": f"{stored.bucket}/{stored.key}", "Id": stored.id})

    async def upload_signed(self, request: Request) -> Response:
        """Store the body where a signed address points."""
        claims = signed_claims(request, self._services.tokens, UPLOAD)
        stored = await self._take(request, upsert=bool(claims.get("upsert")), permitted=True)
        return as_json({"Key": f"{stored.bucket}/{stored.key}"})

    async def _take(self, request: Request, *, upsert: bool, permitted: bool) -> StoredObject:
        key = request.path_params["key"]
        bucket = self._store.buckets.get(request.path_params["bucket"])
        body = await self._body(request, bucket, key)
        names.check_key(key)
        if not permitted:
            raise refusals.row_denied()
        if not upsert and self._store.objects.find(bucket.id, key) is not None:
            raise refusals.exists("KeyAlreadyExists")
        version = str(uuid.uuid4())
        names.check_path(key, f"stub/stub/{bucket.id}/{key}/{version}")
        exchange_of(request.scope).target = f"{bucket.id}/{key}"
        if body.truncated:
            raise refusals.too_large()
        return await self._written(bucket, key, version, body, upsert=upsert)

    async def _written(self, bucket: Bucket, key: str, version: str, body: Body, *, upsert: bool) -> StoredObject:
        blobs = self._store.blobs
        blobs.create(version)
        try:
            with blobs.open(version) as blob:
                async for block in body.blocks:
                    blob.append(block)
            if not upsert:
                await asyncio.sleep(CREATION_GAP)
            etag = self._store.etag(blob.digest.hexdigest(), blob.size, resumable=False)
            content = Content(
                version,
                blob.size,
                etag,
                body.content_type,
                body.cache_control,
                times.now(),
                body.user_metadata,
            )
            return self._store.publish(bucket.id, key, content)
        except BaseException:
            blobs.remove(version)
            raise

    async def _body(self, request: Request, bucket: Bucket, key: str) -> Body:
        # A folder's placeholder may have any type, and no bytes.
        placeholder = key.endswith(names.FOLDER_PLACEHOLDER)
        limit = 0 if placeholder else self._services.size_limit(bucket)
        types = [] if placeholder else bucket.allowed_mime_types or []
        content_type = request.headers.get("content-type", "application/octet-stream")
        if content_type.startswith("multipart/form-data"):
            return await _form(request, limit, types)
        if types:
            names.check_type(content_type, types)
        # A body of unknown length is not counted: the real server lets it pass.
        if int(request.headers.get("content-length", "0")) > limit:
            raise refusals.too_large()
        return Body(
            request.stream(),
            content_type,
            request.headers.get("cache-control", "no-cache"),
            jsonb.as_object(jsonb.from_header(request.headers.get("x-metadata"))),
        )


async def _form(request: Request, limit: int, types: list[str]) -> Body:
    try:
        form = await request.form(max_files=1, max_fields=10)
    except HTTPException as error:
        bounded = "boundary=" in request.headers["content-type"]
        raise refusals.no_content(
            "Unexpected end of multipart data" if bounded else "Multipart: Boundary not found"
        ) from error
    file = next((value for value in form.values() if isinstance(value, UploadFile)), None)
    if file is None:
        raise refusals.no_content()
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    content_type = fields.get("contentType") or file.content_type or "text/plain"
    if types:
        names.check_type(content_type, types)
    seconds = fields.get("cacheControl")
    return Body(
        _blocks(file),
        content_type,
        f"max-age={seconds}" if seconds else "no-cache",
        jsonb.as_object(jsonb.from_text(fields.get("metadata", fields.get("userMetadata")))),
        truncated=(file.size or 0) > limit,
    )


async def _blocks(file: UploadFile) -> AsyncIterator[bytes]:
    while block := await file.read(_BLOCK):
        yield block


def _check_content_type(request: Request) -> None:
    content_type = request.headers.get("content-type")
    if content_type is not None and not _CONTENT_TYPE.match(content_type):
        raise refusals.invalid_type()
