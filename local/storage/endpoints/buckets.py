"""``/bucket``: making, showing, changing, emptying and deleting buckets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from local.storage import names, refusals, times
from local.storage.answers import as_json, message
from local.storage.callers import caller
from local.storage.catalogue.records import Bucket
from local.storage.routing import route
from local.storage.schema import Field, Fields, checked, json_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.services import Services

_CHANGES: Fields = {
    "public": Field(kind="boolean"),
    "file_size_limit": Field(kind="limit", nullable=True),
    "allowed_mime_types": Field(kind="array", nullable=True),
}
_CREATION: Fields = {"name": Field(kind="string", required=True), "id": Field(kind="string"), **_CHANGES}
_PAGE: Fields = {
    "limit": Field(kind="integer", minimum=1),
    "offset": Field(kind="integer", minimum=0),
    "sortColumn": Field(kind="string", choices=("id", "name", "created_at", "updated_at")),
    "sortOrder": Field(kind="string", choices=("asc", "desc")),
    "search": Field(kind="string"),
}


class BucketEndpoints:
    """The routes of buckets."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._buckets = services.store.buckets

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            route("/bucket", self.create, "POST"),
            route("/bucket", self.list, "GET", "HEAD"),
            route("/bucket/", self.create, "POST"),
            route("/bucket/", self.list, "GET", "HEAD"),
            route("/bucket/{bucket}", self.show, "GET", "HEAD"),
            route("/bucket/{bucket}", self.change, "PUT"),
            route("/bucket/{bucket}", self.delete, "DELETE"),
            route("/bucket/{bucket}/empty", self.empty, "POST"),
        ]

    async def create(self, request: Request) -> Response:
        """Make a bucket."""
        body = await json_body(request, _CREATION)
        who = caller(request, self._services.tokens)
        name = str(body["name"])
        names.check_bucket(name)
        moment = times.now()
        blank = Bucket(str(body.get("id") or name), name, False, None, None, moment, moment)
        bucket = self._changed(blank, body)
        if not who.privileged:
            raise refusals.row_denied()
        self._buckets.add(bucket)
        return as_json({"name": name})

    async def list(self, request: Request) -> Response:
        """Show all buckets, or a page of them."""
        page = self._page(request)
        who = caller(request, self._services.tokens)
        found = self._buckets.all() if who.privileged else []
        search = str(page.get("search", "")).lower()
        rows = [_with_type(bucket) for bucket in found if search in bucket.name.lower()]
        if "sortColumn" in page:
            column = str(page["sortColumn"])
            rows.sort(key=lambda row: str(row[column]), reverse=page.get("sortOrder") == "desc")
        start = cast("int", page.get("offset", 0))
        return as_json(rows[start : start + cast("int", page.get("limit", len(rows)))])

    async def show(self, request: Request) -> Response:
        """Show one bucket."""
        self._demand(request)
        return as_json(self._buckets.get(request.path_params["bucket"]).shown())

    async def change(self, request: Request) -> Response:
        """Change what a bucket allows."""
        body = await json_body(request, _CHANGES)
        if not body:
            wrong = [f"body must have required property '{name}'" for name in _CHANGES]
            raise refusals.invalid_request(", ".join([*wrong, "body must match a schema in anyOf"]))
        self._demand(request)
        self._buckets.change(self._changed(self._buckets.get(request.path_params["bucket"]), body))
        return message("Successfully updated")

    async def delete(self, request: Request) -> Response:
        """Delete an empty bucket."""
        self._demand(request)
        self._buckets.remove(request.path_params["bucket"])
        return message("Successfully deleted")

    async def empty(self, request: Request) -> Response:
        """Delete the objects of a bucket. The hosted service does so in the background; here it is done at once."""
        if not caller(request, self._services.tokens).privileged:
            raise refusals.wrong_role()
        self._services.store.empty(self._buckets.get(request.path_params["bucket"]).id)
        return message("Empty bucket has been queued. Completion may take up to an hour.")

    def _demand(self, request: Request) -> None:
        """Raise a refusal unless the caller may see buckets."""
        if not caller(request, self._services.tokens).privileged:
            raise refusals.no_such_bucket()

    def _page(self, request: Request) -> dict[str, object]:
        return checked(dict(request.query_params), _PAGE, "querystring")

    def _changed(self, bucket: Bucket, body: dict[str, object]) -> Bucket:
        limit, types = bucket.file_size_limit, bucket.allowed_mime_types
        if "file_size_limit" in body:
            given = cast("int | str | None", body["file_size_limit"])
            limit = None if given is None else names.size_limit(given, self._services.options.size_limit)
        if "allowed_mime_types" in body:
            listed = cast("list[str] | None", body["allowed_mime_types"])
            types = None if listed is None else [pattern for pattern in listed if pattern]
            names.check_allowed_types(types or [])
        public = bool(body.get("public", bucket.public))
        return replace(bucket, public=public, file_size_limit=limit, allowed_mime_types=types)


def _with_type(bucket: Bucket) -> dict[str, object]:
    """Return a listing's row, which alone tells the bucket's type."""
    fields = list(bucket.shown().items())
    return dict([*fields[:4], ("type", "STANDARD"), *fields[4:]])
