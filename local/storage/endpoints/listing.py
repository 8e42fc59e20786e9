"""``list``: one folder, upper and lower case merged, page by offset."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from local.storage.answers import as_json
from local.storage.callers import caller
from local.storage.catalogue.levels import Level
from local.storage.catalogue.listing import Folder, Walk, entries
from local.storage.catalogue.records import StoredObject
from local.storage.routing import route
from local.storage.schema import Field, Fields, json_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.services import Services

_USUAL, _MOST = 100, 1500
_COLUMNS = ("name", "updated_at", "created_at", "last_accessed_at")
_LIST: Fields = {
    "prefix": Field(kind="string", required=True),
    "limit": Field(kind="integer", minimum=1),
    "offset": Field(kind="integer", minimum=0),
    "sortBy": Field(
        kind="object",
        fields={
            "column": Field(kind="string", required=True, choices=_COLUMNS),
            "order": Field(kind="string", choices=("asc", "desc")),
        },
    ),
    "search": Field(kind="string"),
}


class ListingEndpoint:
    """The route of the first kind of listing."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [route("/object/list/{bucket}", self.list, "POST")]

    async def list(self, request: Request) -> Response:
        """List a folder. A missing bucket has no objects."""
        body = await json_body(request, _LIST)
        who = caller(request, self._services.tokens)
        if not who.privileged:
            return as_json([])
        folder = _as_folder(str(body["prefix"]))
        order = cast("dict[str, str]", body.get("sortBy", {}))
        column, descending = order.get("column", "name"), order.get("order") == "desc"
        bucket, prefix = request.path_params["bucket"], folder + str(body.get("search", ""))
        found: Iterable[StoredObject | Folder]
        if column == "name":
            found = entries(self._services.store.connection, Walk(bucket, prefix, "folded", descending))
        else:
            level = Level(bucket, prefix, column == "updated_at", descending)
            found = level.entries(self._services.store.connection)
        start = cast("int", body.get("offset", 0))
        page = islice(found, start, start + min(cast("int", body.get("limit", _USUAL)), _MOST))
        return as_json([_row(entry, len(folder)) for entry in page])


def _as_folder(prefix: str) -> str:
    return f"{prefix}/" if prefix and not prefix.endswith("/") else prefix


def _row(entry: StoredObject | Folder, start: int) -> dict[str, object]:
    """Return an entry as the listing shows it, its name beginning behind the folder that was asked for."""
    if isinstance(entry, StoredObject):
        return entry.listed(entry.key[start:])
    empty = dict.fromkeys(("id", "updated_at", "created_at", "last_accessed_at", "metadata"))
    return {"name": entry.path[start:], **empty}
