"""Answers in the form that the real server gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from local.storage.refusals import RefusedError

_JSON = "application/json; charset=utf-8"


def as_json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``value`` as compact JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status, {"content-type": _JSON, **(headers or {})})


def message(text: str) -> Response:
    """Return the answer of a call that has nothing to show."""
    return as_json({"message": text})


def refused(refusal: RefusedError) -> Response:
    """Return a refusal as the REST routes give it."""
    return as_json(refusal.body(), refusal.http_status)


def refused_token(refusal: RefusedError) -> Response:
    """Return the refusal of a token as the resumable routes give it: the same fields in another order."""
    body = refusal.body()
    ordered = {name: body[name] for name in ("statusCode", "code", "error", "message")}
    return as_json(ordered, refusal.http_status)


def no_route(request: Request) -> Response:
    """Return the answer to a path, or a method on it, that does not exist."""
    path = request.url.path.removeprefix("/storage/v1")
    text = f"Route {request.method}:{path}{'?' * bool(request.url.query)}{request.url.query} not found"
    if path.startswith(("/object", "/bucket")):
        body = {"statusCode": "404", "error": "Not Found", "message": text, "code": "InvalidRequest"}
        return as_json(body, 404, {"content-type": "application/json"})
    return as_json({"message": text, "error": "Not Found", "statusCode": 404}, 404)
