"""Copying, moving and deleting objects."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from local.storage import jsonb, names, refusals
from local.storage.answers import as_json, message
from local.storage.callers import caller
from local.storage.catalogue.store import renewed
from local.storage.gap import CREATION_GAP
from local.storage.routing import route
from local.storage.schema import Field, Fields, json_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.catalogue.records import Content, StoredObject
    from local.storage.services import Services

_PLACES: Fields = {
    "bucketId": Field(kind="string", required=True),
    "sourceKey": Field(kind="string", required=True),
    "destinationKey": Field(kind="string", required=True),
    "destinationBucket": Field(kind="string"),
}
_COPY: Fields = {
    "sourceKey": _PLACES["sourceKey"],
    **_PLACES,
    "copyMetadata": Field(kind="boolean"),
    "metadata": Field(kind="object", fields={"cacheControl": Field(kind="string"), "mimetype": Field(kind="string")}),
}
_DELETE: Fields = {"prefixes": Field(kind="array", required=True, items=(1, None))}


class ArrangingEndpoints:
    """The routes that change where objects are."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            route("/object/copy", self.copy, "POST"),
            route("/object/move", self.move, "POST"),
            route("/object/{bucket}", self.delete_many, "DELETE"),
            route("/object/{bucket}/{key}", self.delete, "DELETE"),
        ]

    async def copy(self, request: Request) -> Response:
        """Copy an object. Without ``x-upsert`` an object that is there already is refused."""
        body = await json_body(request, _COPY)
        source, bucket, key = self._places(request, body)
        upsert = request.headers.get("x-upsert") == "true"
        content = _copied(source.content, body, request.headers.get("x-metadata"))
        if self._store.buckets.find(bucket) is None:
            raise refusals.no_such_relation()
        if not upsert:
            if self._store.objects.find(bucket, key) is not None:
                raise refusals.exists("KeyAlreadyExists")
            await asyncio.sleep(CREATION_GAP)
        copied = self._store.copy(source, bucket, key, content)
        return as_json({"Key": f"{bucket}/{key}", "Id": copied.id, **copied.row()})

    async def move(self, request: Request) -> Response:
        """Move an object. Of several moves to one place exactly one succeeds."""
        body = await json_body(request, _PLACES)
        source, bucket, key = self._places(request, body)
        if (source.bucket, source.key) != (bucket, key):
            if self._store.buckets.find(bucket) is None:
                raise refusals.no_such_relation()
            self._store.move(source, bucket, key)
        return message("Successfully moved")

    async def delete(self, request: Request) -> Response:
        """Delete one object. Of several callers exactly one succeeds."""
        who = caller(request, self._services.tokens)
        bucket, key = request.path_params["bucket"], request.path_params["key"]
        self._store.objects.get(bucket, key)
        if not who.privileged:
            raise refusals.denied("Access denied")
        self._store.remove(bucket, [key])
        return message("Successfully deleted")

    async def delete_many(self, request: Request) -> Response:
        """Delete the objects of the given keys and show those that there were."""
        body = await json_body(request, _DELETE)
        who = caller(request, self._services.tokens)
        keys = cast("list[str]", body["prefixes"])
        gone = self._store.remove(request.path_params["bucket"], keys) if who.privileged else []
        return as_json([found.row() for found in gone])

    def _places(self, request: Request, body: dict[str, object]) -> tuple[StoredObject, str, str]:
        """Return the object to take, and the bucket and the key to take it to."""
        who = caller(request, self._services.tokens)
        bucket, key = str(body["bucketId"]), str(body["destinationKey"])
        names.check_key(key)
        if not who.privileged:
            raise refusals.no_such_object()
        source = self._store.objects.get(bucket, str(body["sourceKey"]))
        destination = str(body.get("destinationBucket") or bucket)
        names.check_path(key, f"stub/stub/{destination}/{key}/{source.content.version}")
        return source, destination, key


def _copied(content: Content, body: dict[str, object], header: str | None) -> Content:
    """Return the content of a copy, which may be given other words than its source has."""
    fresh = renewed(content)
    if body.get("copyMetadata", True):
        return fresh
    given = cast("dict[str, str]", body.get("metadata") or {})
    return replace(
        fresh,
        cache_control=given.get("cacheControl", content.cache_control),
        content_type=given.get("mimetype", content.content_type),
        user_metadata=jsonb.from_header(header),
    )
