"""What can come of a delivery, and which of it an error of Storage's is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.storage.errors import StorageError, Trouble

if TYPE_CHECKING:
    from uploader.parcel import Parcel
    from uploader.rows import Stored

_EVERYBODYS = frozenset({Trouble.DENIED, Trouble.BUCKET_NOT_FOUND})
_FOR_GOOD = frozenset({Trouble.TOO_LARGE, Trouble.WRONG_TYPE, Trouble.INVALID_KEY})
_MOST_REFUSALS = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """Storage took the version, and its own record of it is still to be seen.

    ``md5`` is of the bytes that went out, ``old`` the version that lay at the key before.
    """

    parcel: Parcel
    sha256: str
    md5: str | None
    old: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The server's own record says that the version is there. ``sent`` bytes crossed the line for it."""

    stored: Stored
    sent: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The file is no longer the version that was settled; it will be settled anew."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """The file was deleted before it could be sent."""


@dataclass(frozen=True, slots=True)
class Later:
    """It did not work now. ``server_down`` says that no other file need try; ``moved``: some bytes arrived.

    ``most_attempts``: after so many it is given up, since a server that answers other questions still refuses it.
    ``unread``: its bytes could not be read here, and Storage has not been asked.
    """

    reason: str
    server_down: bool = False
    moved: bool = False
    retry_after: float | None = None
    most_attempts: int | None = None
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work until someone acts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The uploader is stopping, or may no longer write here: nothing was decided about the file."""


Verdict = Stopped | Delivered | Changed | Vanished | Later | Refused
Result = Sent | Verdict


def result_of(error: StorageError, *, moved: bool) -> Verdict:
    """Return what ``error`` means for the one version that met it; ``moved``: some of its bytes arrived."""
    if error.trouble is Trouble.CHANGED:
        return Changed()
    if error.trouble in _EVERYBODYS:
        # A wrong key or a missing bucket is not this file's fault, unless Storage is content with everything else.
        return Later(error.sentence, server_down=True, moved=moved, most_attempts=_MOST_REFUSALS)
    if error.transient:
        down = error.trouble in {Trouble.UNREACHABLE, Trouble.BUSY}
        return Later(error.sentence, server_down=down, moved=moved, retry_after=error.retry_after)
    if error.trouble in _FOR_GOOD:
        return Refused(error.sentence)
    # No answer to an upload that may overwrite: the server, or what stands before it, is confused, and seldom for long.
    return Later(error.sentence, most_attempts=_MOST_REFUSALS)
