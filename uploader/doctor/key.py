"""What the key says of itself, before any server is asked: whose it is, what it may do, until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt

from uploader.doctor.checks import doubtful, fine, wrong

if TYPE_CHECKING:
    from uploader.doctor.checks import Finding

_SOON_SECONDS = 7 * 86_400.0
_WHICH = "Set SUPABASE_SERVICE_KEY to the project's service_role or secret key: Supabase, Project Settings, API Keys."


def check_key(key: str, url: str, now: float) -> Finding:
    """Return what ``key`` is, for the project at ``url``; ``now`` is Unix seconds.

    Supabase's older keys are signed tokens (JWT) that say all this. The newer ones begin with ``sb_secret_`` or
    ``sb_publishable_``, and say nothing else.
    """
    if key.startswith("sb_secret_"):
        return fine("it is a secret key, which may do everything")
    if key.startswith("sb_publishable_"):
        return wrong("it is a publishable key, which may not write", _WHICH)
    try:
        claims: dict[str, Any] = jwt.decode(key, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return doubtful("it is of a form that Supabase's keys do not have", _WHICH)
    return _claimed(claims, url, now)


def _claimed(claims: dict[str, Any], url: str, now: float) -> Finding:
    role, project, ends = claims.get("role"), claims.get("ref"), claims.get("exp")
    host = urlsplit(url).hostname or ""
    if role != "service_role":
        return wrong(f"it has the role {role or 'of nobody'}, which may not write everywhere", _WHICH)
    if project and host.endswith(".supabase.co") and host.partition(".")[0] != project:
        return wrong(f"it is the key of the project {project}, and SUPABASE_URL is that of {host}", _WHICH)
    if not isinstance(ends, int | float):
        return fine("it is a service_role key, which does not expire")
    day = datetime.fromtimestamp(ends, UTC).date().isoformat()
    if ends <= now:
        return wrong(f"it is a service_role key, but expired on {day}", _WHICH)
    if ends - now < _SOON_SECONDS:
        return doubtful(
            f"it is a service_role key that expires on {day}",
            "Replace it before: see 'Another key' in docs/operations.md.",
        )
    return fine(f"it is a service_role key, valid until {day}")
