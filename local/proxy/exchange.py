"""One request and its answer as the proxy sees them, and the moments in which somebody may step in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

_OBJECT = "/storage/v1/object/"
_READING = ("authenticated/", "public/", "sign/")
_NO_BUCKETS = frozenset({"list", "list-v2", "info", "upload"})
_UPLOAD = "/storage/v1/upload/resumable/"


class Moment(StrEnum):
    """Where an exchange stands."""

    ASKED = "the request has come, and the server has heard nothing of it"
    SENDING = "more of the request's body has gone to the server"
    ANSWERED = "the server has done what was asked, and nobody has heard of it"


@dataclass(slots=True)
class Exchange:
    """One request. ``number`` counts from 1; ``length`` is what its Content-Length says.

    ``up`` and ``down`` are the bytes of the bodies that have been passed on; ``status`` comes with the answer.
    """

    number: int
    method: str
    path: str
    length: int | None = None
    up: int = 0
    down: int = 0
    status: int | None = None

    @property
    def target(self) -> str | None:
        """The object that the request is about, as ``bucket/key``, if its path names one."""
        return target_of(self.path)


Hook = Callable[[Moment, Exchange], bool]
"""Called in the proxy's thread; returns whether the connection is to be cut there."""


def target_of(path: str) -> str | None:
    """Return ``bucket/key`` of the object that a path (decoded) is about. An upload's address holds them in base64."""
    if path.startswith(_UPLOAD):
        return _target_of_upload(path.removeprefix(_UPLOAD))
    if not path.startswith(_OBJECT):
        return None
    target = path.removeprefix(_OBJECT)
    for way in _READING:
        target = target.removeprefix(way)
    bucket, _, key = target.partition("/")
    return f"{bucket}/{key}" if key and bucket not in _NO_BUCKETS else None


def _target_of_upload(segment: str) -> str | None:
    try:
        text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    target, slash, _version = text.rpartition("/")
    return target if slash else None


def decoded(target: bytes) -> str:
    """Return the path of a request's target, without query and percent signs."""
    return unquote(target.partition(b"?")[0].decode("latin-1"))
