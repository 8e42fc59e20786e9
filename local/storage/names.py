"""What a bucket, a key and a content type may be called. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local.storage import refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
_BUCKET = re.compile(r"[A-Za-z0-9_!.*'() &$=@;:+,?-]{1,100}")
_LIMITED_TYPE = re.compile(r"[a-zA-Z0-9\-+.]+/[a-zA-Z0-9\-+.]+(;\s*charset=[a-zA-Z0-9\-]+)?|.*\*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(gb|mb|kb|b)", re.IGNORECASE)
_UNITS = {"gb": 1_000_000_000, "mb": 1_000_000, "kb": 1000, "b": 1}
_LONGEST_SEGMENT = 255
_RESERVED_SUFFIX = "--iceberg"
FOLDER_PLACEHOLDER = ".emptyFolderPlaceholder"
"""What the web console puts into a folder that it makes. An object of this name must be empty."""


def check_bucket(name: str) -> None:
    """Raise a refusal unless ``name`` may be a bucket's."""
    if name != name.strip() or not _BUCKET.fullmatch(name) or name.endswith(_RESERVED_SUFFIX):
        raise refusals.invalid_bucket_name()


def check_key(key: str) -> None:
    """Raise a refusal if ``key`` is empty or has a character that no key may have."""
    if not _KEY.fullmatch(key):
        raise refusals.invalid_key(key)


def check_path(key: str, shown_as: str) -> None:
    """Raise what the real server's file system says to ``key``; ``shown_as`` is the path in its message."""
    segments = key.split("/")
    if "." in segments or ".." in segments:
        raise refusals.invalid_key(f"{shown_as} contains dot path segment")
    if any(len(segment) > _LONGEST_SEGMENT for segment in segments):
        raise refusals.internal_error()


def check_type(content_type: str, allowed: Sequence[str]) -> None:
    """Raise a refusal unless ``content_type`` is one of ``allowed``, which may say ``image/*``."""
    kind, _, subtype = content_type.partition("/")
    for pattern in allowed:
        allowed_kind, _, allowed_subtype = pattern.partition("/")
        if allowed_kind == kind and allowed_subtype in ("*", subtype.split("/")[0]):
            return
    raise refusals.refused_type(content_type)


def check_allowed_types(patterns: Sequence[str]) -> None:
    """Raise a refusal unless each pattern may stand in a bucket's list of types."""
    for pattern in patterns:
        if not _LIMITED_TYPE.fullmatch(pattern):
            raise refusals.refused_type(pattern)


def size_limit(value: int | str, most: int) -> int:
    """Return a bucket's limit in bytes; ``value`` may be text such as ``20MB``. ``most`` is the server's own limit."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value)
        if match is None:
            raise refusals.invalid_request("Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B")
        value = int(float(match[1]) * _UNITS[match[2].lower()])
    if value > most:
        raise refusals.too_large()
    return value
