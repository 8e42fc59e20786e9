"""``list-v2``: everything under a prefix, or one folder, page by cursor; upper and lower case are two things."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, cast

from local.storage import refusals, times
from local.storage.answers import as_json
from local.storage.callers import caller
from local.storage.catalogue.flat import ByTime, by_key
from local.storage.catalogue.listing import Folder, Walk, entries
from local.storage.catalogue.records import StoredObject
from local.storage.routing import route
from local.storage.schema import Field, Fields, json_body

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from local.storage.catalogue.flat import TimeColumn, TimedEntry
    from local.storage.services import Services

_MOST = 1000
_CURSOR_LINE = re.compile(r"([loca]):(.*)")
_LIST: Fields = {
    "prefix": Field(kind="string"),
    "limit": Field(kind="integer", minimum=1),
    "cursor": Field(kind="string"),
    "with_delimiter": Field(kind="boolean"),
    "sortBy": Field(
        kind="object",
        fields={
            "column": Field(kind="string", required=True, choices=("name", "updated_at", "created_at")),
            "order": Field(kind="string", choices=("asc", "desc")),
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: the last entry's path, the order, and the last entry's time where that is the order."""

    path: str = ""
    order: str = ""
    column: str = ""
    time: str = ""

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Return the cursor that ``text`` is. Raises a refusal if it is none."""
        try:
            lines = base64.b64decode(text + "===").decode().split("\n")
        except (binascii.Error, UnicodeDecodeError):
            lines = [""]
        found = {"o": "asc"}
        for line in lines:
            match = _CURSOR_LINE.match(line)
            if match is None:
                raise refusals.invalid_parameter("Invalid Parameter continuation token")
            found[match[1]] = match[2]
        return cls(found.get("l", ""), found["o"], found.get("c", ""), found.get("a", ""))

    def text(self) -> str:
        """Return what ``read`` reads."""
        parts = {"l": self.path, "o": self.order, "c": self.column, "a": self.time}
        return base64.b64encode("\n".join(f"{name}:{part}" for name, part in parts.items() if part).encode()).decode()


class ListingV2Endpoint:
    """The route of the second kind of listing."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [route("/object/list-v2/{bucket}", self.list, "POST")]

    async def list(self, request: Request) -> Response:
        """List a page. A missing bucket has no objects."""
        body = await json_body(request, _LIST)
        who = caller(request, self._services.tokens, header_required=False)
        asked = Listing(
            request.path_params["bucket"],
            str(body.get("prefix", "")),
            min(cast("int", body.get("limit", _MOST)), _MOST),
            bool(body.get("with_delimiter")),
            _cursor(body),
        )
        found = asked.entries(self._services.store.connection) if who.privileged else []
        return as_json(asked.shown(found))


@dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for."""

    bucket: str
    prefix: str
    limit: int
    folders: bool
    cursor: Cursor

    def entries(self, connection: sqlite3.Connection) -> list[TimedEntry]:
        """Return the page's entries and one more, if there is one, each with the time of its order (else 0)."""
        descending, after = self.cursor.order == "desc", self.cursor.path
        found: Iterable[StoredObject | Folder]
        if self.cursor.column in ("updated_at", "created_at"):
            query = ByTime(self.bucket, self.prefix, cast("TimeColumn", self.cursor.column), descending, self.folders)
            behind = (times.parse_iso(self.cursor.time) if self.cursor.time else 0, after) if after else None
            return query.entries(connection, behind)[: self.limit + 1]
        if self.folders:
            found = entries(connection, Walk(self.bucket, self.prefix, "key", descending, after))
        else:
            place = (self.bucket, self.prefix, self.limit + 1)
            found = by_key(connection, *place, descending=descending, after=after)
        return [(0, entry) for entry in islice(found, self.limit + 1)]

    def shown(self, found: list[TimedEntry]) -> dict[str, object]:
        """Return the page as JSON."""
        page = found[: self.limit]
        more: dict[str, object] = {}
        if len(found) > self.limit:
            time, last = page[-1]
            path = last.path if isinstance(last, Folder) else last.key
            more = {"nextCursor": replace(self.cursor, path=path, time=times.iso(time) if time else "").text()}
            more["nextCursorKey"] = path
        folders = [self._folder(entry, time) for time, entry in page if isinstance(entry, Folder)]
        objects = [self._object(entry) for _, entry in page if isinstance(entry, StoredObject)]
        return {"hasNext": len(found) > self.limit, **more, "folders": folders, "objects": objects}

    def _folder(self, folder: Folder, time: int) -> dict[str, object]:
        made = times.iso(time) if time else None
        row = {"key": self._name(folder.path), "name": f"{folder.path}/", "id": None}
        return {**row, "updated_at": made, "created_at": made, "last_accessed_at": None, "metadata": None}

    def _object(self, entry: StoredObject) -> dict[str, object]:
        row = entry.listed(entry.key)
        if self.folders:
            return {"key": self._name(entry.key), **row}
        return {name: row[name] for name in ("id", "name", "metadata", "updated_at", "created_at", "last_accessed_at")}

    def _name(self, path: str) -> str:
        segments = path.split("/")
        depth = self.prefix.count("/")
        return segments[depth] if depth < len(segments) else ""


def _cursor(body: dict[str, object]) -> Cursor:
    order = cast("dict[str, str]", body.get("sortBy", {}))
    asked = Cursor(order=order.get("order", ""), column=order.get("column", ""))
    if not body.get("cursor"):
        return asked
    given = Cursor.read(str(body["cursor"]))
    return replace(given, column=given.column or asked.column)
