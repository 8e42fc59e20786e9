"""An object as it comes in, block by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.storage.errors import StorageError, Trouble
from shared.storage.records import md5_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

    from shared.storage.wire import Wire

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def wanted(start: int) -> Mapping[str, str]:
    """Return the headers that ask for an object's own bytes, not compressed on the way, from ``start`` on."""
    plain = {"Accept-Encoding": "identity"}
    return {**plain, "Range": f"bytes={start}-"} if start else plain


class Download:
    """An answer of which the body is still to come. ``size`` is the whole object's, wherever the download starts."""

    def __init__(self, wire: Wire, response: httpx.Response, start: int, what: str) -> None:
        self._wire = wire
        self._response = response
        self._what = what
        self.size = _size(response, start, what)
        self.etag: str | None = response.headers.get("etag", "").removeprefix("W/").strip('"') or None
        self.content_type: str | None = response.headers.get("content-type")

    @property
    def md5(self) -> str | None:
        """Return the whole object's MD5 in hex, or None where the server does not know it."""
        return md5_of(self.etag)

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes, once. Raises StorageError where the connection breaks before the last one."""
        with self._wire.translated(self._what):
            yield from self._response.iter_raw()


def _size(response: httpx.Response, start: int, what: str) -> int | None:
    if not start:
        length = response.headers.get("content-length", "")
        return int(length) if length.isdecimal() else None
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None or int(match.group(1)) != start:
        raise StorageError(Trouble.BROKEN, what, f"the server does not send from byte {start} on", transient=True)
    return int(match.group(2)) if match.group(2) != "*" else None
