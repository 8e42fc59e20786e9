"""The protocol's request headers. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = "1.0.0"
BODY_TYPE = "application/offset+octet-stream"

_NUMBER = re.compile(r"0|[1-9]\d*", re.ASCII)
_METADATA_KEY = re.compile(r"[\x00-\x1f\x21-\x2b\x2d-\x7f]+")
_METADATA_VALUE = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def invalid(headers: Mapping[str, str], method: str) -> list[str]:
    """Return the names of the headers whose value the protocol does not allow, in alphabetical order.

    The content type counts for PATCH only, because some clients send one with everything.
    """
    checked = sorted(name for name in headers if name in _VALID and (name != "content-type" or method == "PATCH"))
    return [name for name in checked if not _VALID[name](headers[name])]


def parse_metadata(header: str) -> dict[str, str | None]:
    """Return what an Upload-Metadata header says. Raises ValueError."""
    found: dict[str, str | None] = {}
    if not header.strip():
        raise ValueError(header)
    for pair in header.split(","):
        key, *values = pair.split(" ")
        if key in found or not _METADATA_KEY.fullmatch(key) or len(values) > 1:
            raise ValueError(pair)
        found[key] = _decoded(values[0]) if values and values[0] else None
    return found


def format_metadata(metadata: Mapping[str, str | None]) -> str:
    """Return the Upload-Metadata header that says so."""
    pairs = []
    for key, value in metadata.items():
        pairs.append(key if value is None else f"{key} {base64.b64encode(value.encode()).decode()}")
    return ",".join(pairs)


def _decoded(value: str) -> str:
    if len(value) % 4 or not _METADATA_VALUE.fullmatch(value):
        raise ValueError(value)
    try:
        return base64.b64decode(value).decode(errors="replace")
    except binascii.Error as error:
        raise ValueError(value) from error


def _metadata(header: str) -> bool:
    try:
        parse_metadata(header)
    except ValueError:
        return False
    return True


def _number(header: str) -> bool:
    return _NUMBER.fullmatch(header) is not None


_VALID: dict[str, Callable[[str], bool]] = {
    "content-type": BODY_TYPE.__eq__,
    "tus-resumable": VERSION.__eq__,
    "tus-version": VERSION.__eq__,
    "upload-concat": lambda value: value == "partial" or value.startswith("final;"),
    "upload-defer-length": "1".__eq__,
    "upload-length": _number,
    "upload-metadata": _metadata,
    "upload-offset": _number,
    "x-forwarded-proto": lambda value: value in ("http", "https"),
}
