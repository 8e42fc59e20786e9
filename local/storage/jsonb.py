"""Users' metadata as PostgreSQL's jsonb column keeps them."""

from __future__ import annotations

import base64
import binascii
import json

from local.storage import refusals


def normal(value: object) -> object:
    """Return ``value`` with the keys of each object sorted as jsonb sorts them: by length in bytes, then by bytes."""
    if isinstance(value, dict):
        encoded = sorted((str(key).encode(), item) for key, item in value.items())
        encoded.sort(key=lambda pair: len(pair[0]))
        return {key.decode(): normal(item) for key, item in encoded}
    if isinstance(value, list):
        return [normal(item) for item in value]
    return value


def from_text(text: str | None) -> str | None:
    """Return what the column holds for metadata given as JSON; None for none.

    What is not JSON is accepted and ignored. Lists and texts are refused, as the database does.
    """
    try:
        value = json.loads(text or "null")
    except ValueError:
        return None
    if isinstance(value, list | str):
        raise refusals.invalid_parameter("invalid input syntax for type json")
    return None if value is None else json.dumps(normal(value), ensure_ascii=False, separators=(",", ":"))


def as_object(column: str | None) -> str:
    """Return what standard uploads make of a column: always an object, of everything else an empty one."""
    return column if column is not None and column.startswith("{") else "{}"


def from_header(header: str | None) -> str | None:
    """Return what the column holds for an ``x-metadata`` header, which is base64 of JSON."""
    if header is None:
        return None
    try:
        return from_text(base64.b64decode(header).decode())
    except (binascii.Error, UnicodeDecodeError):
        return None
