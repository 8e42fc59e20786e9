"""What the bucket says of a job: the proof of its end, and how it stands where RunPod does not say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, TypeVar

from shared import keys
from shared.contract.bucket import MANIFEST, STATUS, Manifest, Status
from shared.storage.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from examples.client.request import Request
    from shared.storage.client import Storage

_LARGEST_MANIFEST = 1 << 30

D = TypeVar("D", Status, Manifest)


class Results:
    """The documents of one request's place. ``storage`` is None where nobody has said where it is and by which key."""

    def __init__(self, storage: Storage | None, request: Request) -> None:
        self._storage = storage
        self._request = request

    @property
    def known(self) -> bool:
        """Return whether the bucket can be asked at all."""
        return self._storage is not None

    def status(self) -> Status | None:
        """Return the newest ``status.json``; None where there is none, or Storage does not answer."""
        return self._document(STATUS, Status)

    def manifest(self) -> Manifest | None:
        """Return the manifest; None where there is none, or Storage does not answer."""
        return self._document(MANIFEST, Manifest)

    def _document(self, name: str, kind: type[D]) -> D | None:
        if self._storage is None:
            return None
        try:
            key = keys.join(self._request.prefix, name)
            content = self._storage.read(self._request.bucket, key, limit=_LARGEST_MANIFEST)
        except StorageError:
            # It is only asked where RunPod has no answer, and again after a while.
            return None
        return kind.parse(content) if content else None


def fetch(request: Request, folder: Path) -> int:
    """Fetch the results into ``folder``, proved, by the uploader's own command; return its exit code."""
    return subprocess.run(_command(request, folder), check=False).returncode


def fetch_quietly(request: Request, folder: Path) -> tuple[int, str]:
    """Do the same without a word; return the exit code, and what was said last."""
    done = subprocess.run(_command(request, folder), capture_output=True, text=True, errors="replace", check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, lines[-1] if lines else ""


def _command(request: Request, folder: Path) -> list[str]:
    place = ("--bucket", request.bucket, "--prefix", request.prefix)
    return [sys.executable, "-m", "uploader", "fetch", *place, str(folder)]


def fetching_by_hand(request: Request) -> str:
    """Return the command that fetches the results."""
    return f"python -m uploader fetch --bucket {request.bucket} --prefix {request.prefix} FOLDER"
