"""Times as the server writes them. Inside they are whole microseconds since 1970."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime


def now() -> int:
    """Return the wall clock in microseconds."""
    return time.time_ns() // 1000


def iso(microseconds: int) -> str:
    """Return ``2026-01-31T23:59:59.123Z``."""
    moment = datetime.fromtimestamp(microseconds // 1000 / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{microseconds // 1000 % 1000:03d}Z"


def parse_iso(text: str) -> int:
    """Return the microseconds of what ``iso`` wrote. Raises ValueError."""
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1000


def parse_http_date(text: str) -> int | None:
    """Return the microseconds of an HTTP header's date; None if it is none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000
    except ValueError:
        return None


def http_date(microseconds: int) -> str:
    """Return the form that HTTP headers use; it has whole seconds."""
    return formatdate(microseconds // 1_000_000, usegmt=True)
