"""Refusals in the form in which they come from Storage, or from the gateway before it. Pure.

Storage's REST routes answer HTTP 400 with the meant status in a JSON body, but for overload and its own failures; its
resumable routes answer the true status and plain text. Where the gateway speaks, it speaks HTML.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from local.storage.faults import BAD_GATEWAY, Answer

_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_TOO_MANY = 429
_RESUMABLE = "/upload/resumable"

# As the server has them: error, message, code.
_REST = {
    409: ("Duplicate", "The resource already exists", "KeyAlreadyExists"),
    423: ("ResourceLocked", "The resource is locked", "ResourceLocked"),
    429: ("too_many_connections", "Too many connections issued to the database", "SlowDown"),
    500: ("Internal", "Internal Server Error", "InternalError"),
    544: ("DatabaseTimeout", "The connection to the database timed out", "DatabaseTimeout"),
}
_TUS = {
    409: "Upload-Offset conflict\n",
    410: "The file for this url no longer exists\n",
    503: "acquiring lock timeout\n",
}


def answer_of(status: int, path: str, retry_after: int | None) -> Answer:
    """Return the answer that a request for ``path`` gets where the outcome is ``status``."""
    if status in _GATEWAY:
        page = BAD_GATEWAY.replace("502 Bad Gateway", f"{status} {HTTPStatus(status).phrase}")
        return Answer(status=status, body=page, content_type="text/html", retry_after=retry_after)
    if _RESUMABLE in path:
        text = _TUS.get(status, f"{_phrase(status)}\n")
        return Answer(status=status, body=text, content_type="text/plain;charset=UTF-8", retry_after=retry_after)
    error, message, code = _REST.get(status, (_phrase(status), _phrase(status), "InternalError"))
    body = {"statusCode": str(status), "error": error, "message": message, "code": code}
    on_the_wire = status if status >= _TOO_MANY else HTTPStatus.BAD_REQUEST
    return Answer(status=on_the_wire, body=json.dumps(body), retry_after=retry_after)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"
