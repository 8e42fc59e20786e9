"""Making signed addresses, for downloads and for uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from local.storage import names, refusals
from local.storage.answers import as_json
from local.storage.callers import caller
from local.storage.routing import route
from local.storage.schema import Field, Fields, json_body
from local.storage.signatures import UPLOAD, signed_path

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.services import Services

_UPLOAD_SECONDS = 60
_MOST_PATHS = 1000
_ONE: Fields = {"expiresIn": Field(kind="integer", required=True, minimum=1)}
_MANY: Fields = {**_ONE, "paths": Field(kind="array", required=True, items=(1, _MOST_PATHS))}


class SigningEndpoints:
    """The routes that make signed addresses."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._objects = services.store.objects

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            route("/object/upload/sign/{bucket}/{key}", self.sign_upload, "POST"),
            route("/object/sign/{bucket}", self.sign_many, "POST"),
            route("/object/sign/{bucket}/{key}", self.sign, "POST"),
        ]

    async def sign(self, request: Request) -> Response:
        """Return an address by which anybody may read one object."""
        body = await json_body(request, _ONE)
        who = caller(request, self._services.tokens)
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        names.check_key(key)
        if not who.privileged:
            raise refusals.no_such_object()
        self._objects.get(bucket, key)
        seconds = cast("int", body["expiresIn"])
        return as_json({"signedURL": signed_path(self._services.tokens, bucket, key, seconds)})

    async def sign_many(self, request: Request) -> Response:
        """Return addresses for several objects, and say of which there is none."""
        body = await json_body(request, _MANY)
        who = caller(request, self._services.tokens)
        bucket, seconds = request.path_params["bucket"], cast("int", body["expiresIn"])
        rows = []
        for path in cast("list[str]", body["paths"]):
            there = who.privileged and self._objects.find(bucket, path) is not None
            error = None if there else "Either the object does not exist or you do not have access to it"
            url = signed_path(self._services.tokens, bucket, path, seconds) if there else None
            rows.append({"error": error, "path": path, "signedURL": url})
        return as_json(rows)

    async def sign_upload(self, request: Request) -> Response:
        """Return an address by which anybody may upload one object."""
        who = caller(request, self._services.tokens)
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        upsert = request.headers.get("x-upsert") == "true"
        if not who.privileged:
            raise refusals.row_denied()
        if self._services.store.buckets.find(bucket) is None:
            raise refusals.no_such_relation()
        if not upsert and self._objects.find(bucket, key) is not None:
            raise refusals.exists("KeyAlreadyExists")
        claims: dict[str, object] = {"url": f"{bucket}/{key}", "upsert": upsert, "scope": UPLOAD}
        token = self._services.tokens.sign(claims, _UPLOAD_SECONDS)
        return as_json({"url": f"/object/upload/sign/{bucket}/{key}?token={token}", "token": token})
