"""The protocol's answers: true HTTP statuses, plain text, and headers for browsers."""

from __future__ import annotations

from starlette.responses import Response

from local.storage.tus.headers import VERSION

_NAMES = (
    "Authorization, Content-Type, Location, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Concat, "
    "Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, X-HTTP-Method-Override, X-Requested-With, "
    "X-Forwarded-Host, X-Forwarded-Proto, Forwarded"
)
_TEXT = {"content-type": "text/plain;charset=UTF-8"}
_RESUMABLE = {"tus-resumable": VERSION}
_BROWSERS = {"access-control-allow-origin": "*", "access-control-expose-headers": f"{_NAMES},"}


def answer(status: int, headers: dict[str, str], text: str | None = None) -> Response:
    """Return an answer; ``text`` is None where it has no content."""
    kind = {} if text is None else _TEXT
    return Response(text, status, {**kind, **_RESUMABLE, **_BROWSERS, **headers})


def malformed(status: int, text: str) -> Response:
    """Return the answer to headers that the protocol does not allow; it alone has nothing for browsers."""
    return Response(text, status, {**_TEXT, **_RESUMABLE})


def options(size_limit: int) -> Response:
    """Return what the server can do."""
    return answer(
        204,
        {
            "access-control-allow-headers": f"{_NAMES}, Authorization, X-Upsert, Upload-Expires, ApiKey, x-signature",
            "access-control-allow-methods": "POST, HEAD, PATCH, OPTIONS, DELETE",
            "access-control-max-age": "86400",
            "tus-extension": "creation,creation-with-upload,creation-defer-length,termination,expiration",
            "tus-max-size": str(size_limit),
            "tus-version": VERSION,
        },
    )
