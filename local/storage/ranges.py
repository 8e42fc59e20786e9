"""The Range header as the real server reads it: one range of bytes, and everything else is refused. Pure."""

from __future__ import annotations

import re

from local.storage import refusals

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


def byte_range(header: str, size: int) -> tuple[int, int]:
    """Return the first byte and the one behind the last that ``header`` asks of an object. Raises a refusal."""
    match = _RANGE.fullmatch(header)
    if match is None or size <= 0 or header == "bytes=-":
        raise refusals.invalid_range()
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise refusals.invalid_range()
    return start, end
