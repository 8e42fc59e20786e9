"""What can go wrong with Storage, told apart once, here: nobody else looks at a status or a text of the server.

Supabase Storage answers nearly every REST failure with HTTP 400 and puts the real status as a string into the JSON
body (``{"statusCode": "404", "error": "not_found", "message": "Object not found", "code": "NoSuchKey"}``). Resumable
uploads answer with a true status and plain text, a proxy with an HTML page, and a HEAD with no body at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from shared.errors import ErrorCode, FerryError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Trouble(StrEnum):
    """What is wrong, as far as it makes a difference to what one does next."""

    UNREACHABLE = "unreachable"
    BUSY = "busy"
    LOCKED = "locked"
    OFFSET_CONFLICT = "offset_conflict"
    UPLOAD_GONE = "upload_gone"
    NOT_FOUND = "not_found"
    BUCKET_NOT_FOUND = "bucket_not_found"
    EXISTS = "exists"
    DENIED = "denied"
    TOO_LARGE = "too_large"
    WRONG_TYPE = "wrong_type"
    INVALID_KEY = "invalid_key"
    CHANGED = "changed"
    BROKEN = "broken"


_TRANSIENT = frozenset({Trouble.UNREACHABLE, Trouble.BUSY, Trouble.LOCKED, Trouble.OFFSET_CONFLICT})

# A job meets NOT_FOUND as a failure only where it reads its inputs; what it writes cannot be missing beforehand.
_CODES: Mapping[Trouble, ErrorCode] = MappingProxyType(
    {
        Trouble.UNREACHABLE: ErrorCode.STORAGE_UNREACHABLE,
        Trouble.BUSY: ErrorCode.STORAGE_UNREACHABLE,
        Trouble.LOCKED: ErrorCode.STORAGE_UNREACHABLE,
        Trouble.BROKEN: ErrorCode.STORAGE_UNREACHABLE,
        Trouble.DENIED: ErrorCode.STORAGE_DENIED,
        Trouble.BUCKET_NOT_FOUND: ErrorCode.BUCKET_NOT_FOUND,
        Trouble.NOT_FOUND: ErrorCode.DATASET_NOT_FOUND,
        Trouble.INVALID_KEY: ErrorCode.INVALID_INPUT,
        Trouble.OFFSET_CONFLICT: ErrorCode.UPLOAD_INCOMPLETE,
        Trouble.UPLOAD_GONE: ErrorCode.UPLOAD_INCOMPLETE,
        Trouble.EXISTS: ErrorCode.UPLOAD_INCOMPLETE,
        Trouble.TOO_LARGE: ErrorCode.UPLOAD_INCOMPLETE,
        Trouble.WRONG_TYPE: ErrorCode.UPLOAD_INCOMPLETE,
        Trouble.CHANGED: ErrorCode.UPLOAD_INCOMPLETE,
    }
)

_ADVICE: Mapping[Trouble, str] = MappingProxyType(
    {
        Trouble.UNREACHABLE: "If this lasts, check SUPABASE_URL and the network.",
        Trouble.BUSY: "Try again later.",
        Trouble.LOCKED: "Try again in some seconds.",
        Trouble.OFFSET_CONFLICT: "Ask for the upload's offset and go on from there.",
        Trouble.UPLOAD_GONE: "Start the upload again.",
        Trouble.NOT_FOUND: "Check bucket and path, upper and lower case included.",
        Trouble.BUCKET_NOT_FOUND: "Create the bucket in Supabase, or correct its name.",
        Trouble.EXISTS: "Choose another name, or allow overwriting.",
        Trouble.DENIED: (
            "Check that SUPABASE_SERVICE_KEY, or the file that SUPABASE_SERVICE_KEY_FILE names, holds this project's "
            "service_role key, and that it has not expired."
        ),
        Trouble.TOO_LARGE: "Raise the file size limit of the bucket and of the project in Supabase's Storage settings.",
        Trouble.WRONG_TYPE: "Allow this type in the bucket's settings in Supabase.",
        Trouble.INVALID_KEY: "Keys take ASCII letters, digits, spaces and _ / ! - . * ' ( ) & $ @ = ; : + , ? only.",
        Trouble.CHANGED: "Start again from the beginning.",
        Trouble.BROKEN: "Check that SUPABASE_URL is the address of a Supabase project.",
    }
)


class StorageError(FerryError):
    """A call to Storage that failed.

    ``trouble`` says how to go on, ``transient`` whether the same call may succeed later, ``retry_after`` the seconds
    that the server asked for, ``status`` the HTTP status that was meant. ``code`` and ``sentence`` are for people;
    ``advice`` is the end of the latter, which says what to do.
    """

    def __init__(
        self,
        trouble: Trouble,
        what: str,
        reason: str,
        *,
        advice: str | None = None,
        transient: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        self.advice = advice or _ADVICE[trouble]
        super().__init__(_CODES[trouble], f"{what} failed: {reason}. {self.advice}")
        self.trouble = trouble
        self.transient = trouble in _TRANSIENT if transient is None else transient
        self.retry_after = retry_after
        self.status = status


# The newer servers' own codes: where there is one, no text is looked at.
_BY_CODE: Mapping[str, Trouble] = MappingProxyType(
    {
        "NoSuchBucket": Trouble.BUCKET_NOT_FOUND,
        "NoSuchKey": Trouble.NOT_FOUND,
        "NoSuchUpload": Trouble.UPLOAD_GONE,
        "KeyAlreadyExists": Trouble.EXISTS,
        "ResourceAlreadyExists": Trouble.EXISTS,
        "BucketAlreadyExists": Trouble.EXISTS,
        "EntityTooLarge": Trouble.TOO_LARGE,
        "InvalidMimeType": Trouble.WRONG_TYPE,
        "InvalidKey": Trouble.INVALID_KEY,
        "InvalidBucketName": Trouble.BUCKET_NOT_FOUND,
        "AccessDenied": Trouble.DENIED,
        "InvalidJWT": Trouble.DENIED,
        "InvalidRange": Trouble.CHANGED,
        "ResourceNotEmpty": Trouble.BUSY,
        "ResourceLocked": Trouble.LOCKED,
        "SlowDown": Trouble.BUSY,
        "DatabaseTimeout": Trouble.BUSY,
    }
)

# What only a text tells apart: resumable uploads and older servers have no codes, and a 409 or a 413 has two meanings.
_BY_TEXT: tuple[tuple[str, Trouble], ...] = (
    ("Upload-Offset conflict", Trouble.OFFSET_CONFLICT),
    ("acquiring lock timeout", Trouble.LOCKED),
    ("The file for this url", Trouble.UPLOAD_GONE),
    ("Invalid upload id", Trouble.UPLOAD_GONE),
    ("Cannot terminate an already completed upload", Trouble.UPLOAD_GONE),
    ("upload's size exceeded", Trouble.CHANGED),
    ("Bucket not found", Trouble.BUCKET_NOT_FOUND),
    ("Bucket name invalid", Trouble.BUCKET_NOT_FOUND),
    ("The related resource does not exist", Trouble.BUCKET_NOT_FOUND),
    ("Object not found", Trouble.NOT_FOUND),
    ("Invalid key", Trouble.INVALID_KEY),
    ("must have required property 'authorization'", Trouble.DENIED),
)

_BY_STATUS: Mapping[int, Trouble] = MappingProxyType(
    {
        401: Trouble.DENIED,
        402: Trouble.DENIED,
        403: Trouble.DENIED,
        408: Trouble.BUSY,
        409: Trouble.EXISTS,
        410: Trouble.UPLOAD_GONE,
        413: Trouble.TOO_LARGE,
        415: Trouble.WRONG_TYPE,
        416: Trouble.CHANGED,
        423: Trouble.LOCKED,
        429: Trouble.BUSY,
        501: Trouble.BROKEN,
        502: Trouble.UNREACHABLE,
        504: Trouble.UNREACHABLE,
    }
)

_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A failure as the server means it; ``status`` is the one in the body where there is one."""

    status: int
    message: str
    code: str = ""


def classify(status: int, content_type: str, text: str, headers: Mapping[str, str], *, what: str) -> StorageError:
    """Return the error that an answer stands for, whose HTTP status is none of the 2xx. Pure.

    ``text`` is the body, empty for a HEAD; ``what`` names the call and its object, such as "Uploading bucket/key".
    """
    refusal = _read(status, content_type.lower(), text)
    trouble = _trouble(refusal)
    reason = f"Storage answers {refusal.status}" + (f", {refusal.message}" if refusal.message else "")
    return StorageError(trouble, what, reason, retry_after=_retry_after(headers), status=refusal.status)


def _read(status: int, content_type: str, text: str) -> _Refusal:
    if "html" in content_type or text.lstrip().startswith("<"):
        return _Refusal(status, "an HTML page instead of Storage's own answer")
    if "json" not in content_type:
        return _Refusal(status, shortened(text))
    if not text and status == 400:
        # A HEAD on an upload: tokens are refused in JSON before its own code, which speaks plain text, is reached.
        return _Refusal(403, "the key is refused")
    try:
        body = json.loads(text or "{}")
    except ValueError:
        return _Refusal(status, shortened(text))
    return _meant(status, body) if isinstance(body, dict) else _Refusal(status, shortened(text))


def _meant(status: int, body: Mapping[str, object]) -> _Refusal:
    own = str(body.get("statusCode", ""))
    message = shortened(str(body.get("message") or body.get("error") or ""))
    return _Refusal(int(own) if own.isdecimal() else status, message, str(body.get("code") or body.get("error") or ""))


def _trouble(refusal: _Refusal) -> Trouble:
    if refusal.code in _BY_CODE:
        return _BY_CODE[refusal.code]
    for text, trouble in _BY_TEXT:
        if text in refusal.message:
            return trouble
    if refusal.status == 404 and not refusal.message:
        return Trouble.NOT_FOUND
    return _BY_STATUS.get(refusal.status, Trouble.BUSY if refusal.status >= 500 else Trouble.BROKEN)


def shortened(text: str) -> str:
    """Return a text of the server's as a part of a sentence: in one line, not longer than people read."""
    return " ".join(text.split())[:_LONGEST_REASON].rstrip(".")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wish in seconds. A wish in the form of a date is measured by the server's own clock, its ``Date``."""
    named = {name.lower(): value for name, value in headers.items()}
    value = named.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until, now = parsedate_to_datetime(value), parsedate_to_datetime(named.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
