"""Reading objects, and what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from local.storage import names, refusals, times
from local.storage.answers import as_json
from local.storage.callers import NOBODY, Caller, anybody, caller
from local.storage.ranges import byte_range
from local.storage.routing import route
from local.storage.signatures import DOWNLOAD, signed_claims

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import FileIO

    from starlette.requests import Request
    from starlette.routing import Route

    from local.storage.catalogue.records import Content, StoredObject
    from local.storage.services import Services

_BLOCK = 256 << 10


class ReadingEndpoints:
    """The routes that show objects."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def routes(self) -> list[Route]:
        """Return the routes; they must stand behind every other route below ``/object``."""
        return [
            route("/object/info/public/{bucket}/{key}", self.info_public, "GET"),
            route("/object/info/authenticated/{bucket}/{key}", self.info_authenticated, "GET", "HEAD"),
            route("/object/info/{bucket}/{key}", self.info, "GET", "HEAD"),
            route("/object/public/{bucket}/{key}", self.read_public, "GET", "HEAD"),
            route("/object/authenticated/{bucket}/{key}", self.read_authenticated, "GET", "HEAD"),
            route("/object/sign/{bucket}/{key}", self.read_signed, "GET", "HEAD"),
            route("/object/{bucket}/{key}", self.read, "GET", "HEAD"),
        ]

    async def info(self, request: Request) -> Response:
        """Show an object's record. A token that does not hold looks like a missing bucket, as everywhere below."""
        return _record(self._visible(request, anybody(request, self._services.tokens)))

    async def info_authenticated(self, request: Request) -> Response:
        """Show an object's record, and say so if the token does not hold."""
        return _record(self._visible(request, caller(request, self._services.tokens)))

    async def info_public(self, request: Request) -> Response:
        """Show the record of an object in a public bucket."""
        return _record(self._visible(request, NOBODY))

    async def read(self, request: Request) -> Response:
        """Return an object's bytes."""
        return self._content(request, self._visible(request, anybody(request, self._services.tokens)))

    async def read_authenticated(self, request: Request) -> Response:
        """Return an object's bytes, and say so if the token does not hold."""
        return self._content(request, self._visible(request, caller(request, self._services.tokens)))

    async def read_public(self, request: Request) -> Response:
        """Return the bytes of an object in a public bucket."""
        return self._content(request, self._visible(request, NOBODY))

    async def read_signed(self, request: Request) -> Response:
        """Return an object's bytes to whoever has a signed address."""
        claims = signed_claims(request, self._services.tokens, DOWNLOAD)
        found = self._store.objects.get(request.path_params["bucket"], request.path_params["key"])
        expires = claims.get("exp")
        moment = expires * 1_000_000 if isinstance(expires, int) else times.now()
        return self._content(request, found, {"expires": times.http_date(moment)})

    def _visible(self, request: Request, who: Caller) -> StoredObject:
        key = request.path_params["key"]
        bucket = self._store.buckets.get(request.path_params["bucket"])
        if not bucket.public and not who.authenticated:
            raise refusals.no_such_bucket()
        names.check_key(key)
        if not bucket.public and not who.privileged:
            raise refusals.no_such_object()
        return self._store.objects.get(bucket.id, key)

    def _content(self, request: Request, found: StoredObject, caching: dict[str, str] | None = None) -> Response:
        content, headers = found.content, _headers(request, found, caching)
        if request.method == "GET" and _unchanged(request, content):
            return Response(None, 304, {**headers, "content-length": "0"})
        start, end, status = 0, content.size, 200
        if request.headers.get("range") and request.method == "GET":
            start, end = byte_range(request.headers["range"], content.size)
            status, headers["content-range"] = 206, f"bytes {start}-{end - 1}/{content.size}"
        headers["content-length"] = str(end - start)
        if request.method == "HEAD" or start == end:
            return Response(None, status, headers)
        # Opened now, so that the answer goes on with this version even if it is replaced meanwhile.
        file = self._store.blobs.path(content.version).open("rb", buffering=0)
        return StreamingResponse(_blocks(file, start, end), status, headers)


def _unchanged(request: Request, content: Content) -> bool:
    """Return whether the client has this version already, by its eTag or by its age."""
    since = times.parse_http_date(request.headers.get("if-modified-since", ""))
    if since is not None and content.written // 1_000_000 <= since // 1_000_000:
        return True
    return request.headers.get("if-none-match") == f'"{content.etag}"'


def _headers(request: Request, found: StoredObject, caching: dict[str, str] | None) -> dict[str, str]:
    content = found.content
    etag = f'"{content.etag}"'
    cache_control = content.cache_control
    if request.headers.get("if-none-match", etag) != etag:
        cache_control += ", stale-while-revalidate=30" if request.method == "GET" else ", must-revalidate"
    headers = {
        # No page from a bucket is ever shown as one.
        "content-type": "text/plain" if "text/html" in content.content_type else content.content_type,
        "accept-ranges": "bytes",
        "etag": etag,
        "x-robots-tag": "none",
        "last-modified": times.http_date(content.written),
        **({"cache-control": cache_control} if caching is None else caching),
    }
    download = request.query_params.get("download")
    if download is not None:
        name = quote(download, safe="!'()*-._~")
        named = f" filename={name}; filename*=UTF-8''{name}" if name else ""
        headers["content-disposition"] = f"attachment;{named}"
    return headers


def _record(found: StoredObject) -> Response:
    headers = {
        "etag": f'"{found.content.etag}"',
        "last-modified": times.http_date(found.updated),
        "cache-control": found.content.cache_control,
    }
    return as_json(found.info(), headers=headers)


async def _blocks(file: FileIO, start: int, end: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (block := file.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block
