"""Requests' and answers' heads, as the side that they go to must see them. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

import h11


def for_server(head: h11.Request, authority: str) -> h11.Request:
    """Return a request's head with the server's own name in it, for which a gateway looks."""
    headers = [
        (name, authority.encode() if name.lower() == b"host" else value) for name, value in head.headers.raw_items()
    ]
    return h11.Request(method=head.method, target=head.target, headers=headers, http_version=head.http_version)


def for_client(head: h11.Response, authority: str, host: bytes, *, secure: bool) -> h11.Response:
    """Return an answer's head whose ``Location`` leads through the proxy, called ``host``, and not past it.

    ``secure``: the client has come by https.
    """
    scheme = b"https" if secure else b"http"
    headers = [
        (name, _through(value, authority, scheme, host) if name.lower() == b"location" else value)
        for name, value in head.headers.raw_items()
    ]
    return h11.Response(
        status_code=head.status_code, headers=headers, reason=head.reason, http_version=head.http_version
    )


def value_of(head: h11.Request, name: bytes) -> bytes:
    """Return a header's value (``name`` in lower case), empty where there is none."""
    return next((bytes(value) for known, value in head.headers if known == name), b"")


def _through(location: bytes, authority: str, scheme: bytes, host: bytes) -> bytes:
    address = urlsplit(location)
    if address.netloc != authority.encode() or not host:
        return location
    return address._replace(scheme=scheme, netloc=host).geturl()
