"""The headers that carry an object's user metadata and an upload's description."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def user_metadata(metadata: Mapping[str, str]) -> str:
    """Return base64 JSON: for the header ``x-metadata`` of a standard upload, and a part of a resumable one's."""
    return _base64(json.dumps({key: _printable(value) for key, value in metadata.items()}))


def upload_metadata(bucket: str, key: str, content_type: str, metadata: Mapping[str, str]) -> str:
    """Return the header ``Upload-Metadata`` of TUS: names, each with a base64 value, separated by commas."""
    fields = {
        "bucketName": _base64(bucket),
        "objectName": _base64(key),
        "contentType": _base64(content_type),
        # Said even when empty: without it, an overwrite keeps the metadata of the object that it replaces.
        "metadata": user_metadata(metadata),
    }
    return ",".join(f"{name} {value}" for name, value in fields.items())


def read_metadata(raw: object) -> dict[str, str]:
    """Return what the server holds as user metadata; values that others wrote as something else become JSON text."""
    if not isinstance(raw, dict):
        return {}
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()}


def _printable(text: str) -> str:
    # File names that are not UTF-8 reach Python as lone surrogates, which the server's database refuses.
    return text.encode("utf-8", "backslashreplace").decode()


def _base64(text: str) -> str:
    return base64.b64encode(_printable(text).encode()).decode()
