"""Object keys: which characters Storage takes, and how everything else is written so that it can be read back.

Storage takes ASCII letters, digits and a few marks, refuses the segments ``.`` and ``..``, and fails on very long
segments. Anything else is written as ``=XX`` for each UTF-8 byte, and ``=`` itself as ``=3D``.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote, unquote_to_bytes

# Without "=", which is the escape itself. Measured at the server: these and "/" pass, all else answers "Invalid key".
_ALLOWED_MARKS = "_!-.*'()&$@;:+,? "
_REFUSED = re.compile(rb"[^A-Za-z0-9" + re.escape(_ALLOWED_MARKS.encode()) + rb"]")
# Storage's database takes 1024 bytes a key and its file backend 255 a name, of which it needs some for itself.
MAX_SEGMENT = 200
MAX_KEY = 900


def escape_segment(segment: bytes | str) -> str:
    """Return one path segment as Storage takes it; reversible by ``unescape``. Bytes need not be UTF-8."""
    raw = segment.encode("utf-8", "surrogateescape") if isinstance(segment, str) else segment
    if raw in {b".", b".."}:
        return raw.decode().replace(".", "=2E")
    return _REFUSED.sub(lambda match: b"=%02X" % match.group()[0], raw).decode("ascii")


def escape(path: str) -> str:
    """Return a relative path with ``/`` between its segments as an object key. Empty segments vanish."""
    return "/".join(escape_segment(segment) for segment in path.split("/") if segment)


def unescape(key: str) -> str:
    """Return the path that ``escape`` made ``key`` of."""
    return unquote_to_bytes(quote(key, safe="/=" + _ALLOWED_MARKS).replace("=", "%")).decode("utf-8", "surrogateescape")


def join(*parts: str) -> str:
    """Return a key of ready parts; empty ones, such as a bucket's root, leave no empty segment behind."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


def fit(key: str, below: str = "") -> str:
    """Return ``key``, with every segment that is too long, and then the whole, shortened by a hash of what was cut.

    ``below`` is the prefix that the key will stand below: together they must not be too long. The suffix stays,
    because people and programs tell files apart by it.
    """
    short = "/".join(
        _shortened(segment, segment) if len(segment) > MAX_SEGMENT else segment for segment in key.split("/")
    )
    if len(short) + len(below) <= MAX_KEY:
        return short
    first, _, rest = short.partition("/")
    return f"{first}/{_shortened(rest.replace('/', '_'), key)}"


def disambiguate(key: str, path: str) -> str:
    """Return ``key`` with a mark of its source path before the suffix: for two files that would meet at one key."""
    folder, slash, name = key.rpartition("/")
    stem, dot, suffix = _split_suffix(name)
    return f"{folder}{slash}{stem}=-{_hash(path, 8)}{dot}{suffix}"


def _shortened(segment: str, whole: str) -> str:
    """Return ``segment`` in the length that is allowed, with a hash of ``whole``, which it is all or a part of."""
    stem, dot, suffix = _split_suffix(segment)
    mark = f"=-{_hash(whole, 16)}{dot}{suffix}"
    return _whole_escapes(stem[: MAX_SEGMENT - len(mark)]) + mark


def _whole_escapes(text: str) -> str:
    return re.sub(r"=[0-9A-F]?$", "", text)


def _split_suffix(name: str) -> tuple[str, str, str]:
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem or len(suffix) > 16:
        return name, "", ""
    return stem, dot, suffix


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]
