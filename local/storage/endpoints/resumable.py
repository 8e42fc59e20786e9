"""``/upload/resumable``: the routes of the resumable protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.storage import answers, refusals
from local.storage.callers import Caller, caller
from local.storage.exchange import exchange_of
from local.storage.routing import route
from local.storage.tus import headers
from local.storage.tus.answers import answer, malformed, options
from local.storage.tus.identity import UploadId
from local.storage.tus.uploading import Announcement, Resumables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.services import Services

_MISSING_LENGTH = "Upload-Length or Upload-Defer-Length header required\n"
_NO_CONCATENATION = "Concatenation extension is not (yet) supported. Disable parallel uploads in the tus client.\n"


class ResumableEndpoints:
    """The routes of resumable uploads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._resumables = Resumables(services)

    def routes(self) -> list[Route]:
        """Return the routes."""
        top, one = "/upload/resumable", "/upload/resumable/{key}"
        return [
            route(top, self.options, "OPTIONS"),
            route(one, self.options, "OPTIONS"),
            route(top, self._guarded(self.create), "POST"),
            route(one, self._guarded(self.create), "POST"),
            route(one, self._guarded(self.append), "PATCH"),
            route(one, self._guarded(self.show), "HEAD"),
            route(one, self._guarded(self.terminate), "DELETE"),
        ]

    async def options(self, _request: Request) -> Response:
        """Say what the server can do."""
        return options(self._services.options.size_limit)

    async def create(self, request: Request, who: Caller) -> Response:
        """Announce an upload, and take the bytes that come with it."""
        announced = await self._resumables.create(request, who, _announcement(request))
        host = request.headers.get("host", "localhost")
        location = f"http://{host}/storage/v1/upload/resumable/{announced.identity.segment()}"
        found = {**announced.headers, "location": location}
        return answer(201, found, "")

    async def append(self, request: Request, who: Caller) -> Response:
        """Take more bytes."""
        if "upload-offset" not in request.headers:
            raise refusals.tus(403, "Upload-Offset header required\n")
        if "content-type" not in request.headers:
            raise refusals.tus(403, "Content-Type header required\n")
        return answer(204, await self._resumables.append(request, who, UploadId.read(_segment(request))))

    async def show(self, request: Request, _who: Caller) -> Response:
        """Say how far an upload has come. Any token will do."""
        upload, offset = await self._resumables.state(UploadId.read(_segment(request)))
        length = {"upload-defer-length": "1"} if upload.length is None else {"upload-length": str(upload.length)}
        found = {"cache-control": "no-store", "upload-offset": str(offset), **length}
        return answer(200, {**found, "upload-metadata": upload.metadata}, "")

    async def terminate(self, request: Request, who: Caller) -> Response:
        """Drop an unfinished upload."""
        upsert = request.headers.get("x-upsert") == "true"
        await self._resumables.terminate(UploadId.read(_segment(request)), who, upsert=upsert)
        return answer(204, {})

    def _guarded(
        self, handle: Callable[[Request, Caller], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return ``handle`` behind the checks of the token and the headers, its refusals as the protocol has them."""

        async def guarded(request: Request) -> Response:
            try:
                who = caller(request, self._services.tokens, header_required=False)
            except refusals.RefusedError as refusal:
                return answers.refused_token(refusal)
            if "tus-resumable" not in request.headers:
                return malformed(412, "Tus-Resumable Required\n")
            if wrong := headers.invalid(request.headers, request.method):
                return malformed(400, f"Invalid {' '.join(wrong)}\n")
            try:
                return await handle(request, who)
            except refusals.RefusedError as refusal:
                return answer(refusal.status, {}, refusal.message)

        return guarded


def _segment(request: Request) -> str:
    return str(request.path_params["key"]).rstrip("/").rpartition("/")[2]


def _announcement(request: Request) -> Announcement:
    """Return what a creation announces. Raises a refusal."""
    found = request.headers
    if "upload-concat" in found:
        raise refusals.tus(501, _NO_CONCATENATION)
    if ("upload-length" in found) == ("upload-defer-length" in found):
        raise refusals.tus(400, _MISSING_LENGTH)
    if not found.get("upload-metadata"):
        raise refusals.tus(400, "Metadata header is required")
    metadata = headers.parse_metadata(found["upload-metadata"])
    announced = Announcement(
        metadata,
        int(found["upload-length"]) if "upload-length" in found else None,
        upsert=found.get("x-upsert") == "true",
        with_body=found.get("content-type") == headers.BODY_TYPE,
    )
    announced.identity.check()
    exchange_of(request.scope).target = f"{announced.identity.bucket}/{announced.identity.key}"
    return announced
