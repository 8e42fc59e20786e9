"""How an embedded server is set up."""

from __future__ import annotations

from dataclasses import dataclass

SIZE_LIMIT = 5 << 30
UPLOAD_EXPIRY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be chosen at the start. ``size_limit`` is in bytes, ``upload_expiry`` in seconds (0: never)."""

    size_limit: int = SIZE_LIMIT
    upload_expiry: float = UPLOAD_EXPIRY
    multipart_etags: bool = False
    secret: str | None = None
