"""Resumable uploads: TUS 1.0.0 as Supabase Storage speaks it.

Its ways, as measured: every call wants ``x-upsert``, else an object of that key makes it fail with 409; an empty upload
is complete once it is created; a PATCH may be answered with a smaller offset than was sent; and an offset at the end
does not prove that the object is there, for which an empty PATCH at the end makes up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.storage.addresses import upload_url
from shared.storage.body import BytesBody
from shared.storage.errors import StorageError, Trouble
from shared.storage.metadata import upload_metadata
from shared.storage.records import Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from shared.storage.body import Body
    from shared.storage.wire import Wire

_HEADERS = {"Tus-Resumable": "1.0.0", "x-upsert": "true"}
_RESUMING = "Resuming an upload"


class ResumableUploads:
    """Makes uploads below ``url`` and feeds them. Any client may go on with an upload, given its address."""

    def __init__(self, wire: Wire, url: str) -> None:
        self._wire = wire
        self._url = url

    def create(
        self, bucket: str, key: str, size: int, *, content_type: str, metadata: Mapping[str, str], what: str
    ) -> Upload:
        """Announce an object of ``size`` bytes. The server refuses at once what it would refuse at the end."""
        headers = {
            **_HEADERS,
            "Upload-Length": str(size),
            "Upload-Metadata": upload_metadata(bucket, key, content_type, metadata),
        }
        response = self._wire.send("POST", self._url, what, headers)
        url = upload_url(self._url, response.headers.get("location", ""), what)
        return Upload(url, response.headers.get("upload-expires"), _offset(response, what, otherwise=0))

    def offset(self, url: str) -> int:
        """Return how many bytes the server has. Raises UPLOAD_GONE where it does not, or no longer, know the upload."""
        try:
            response = self._wire.send("HEAD", self._own(url), _RESUMING, _HEADERS)
        except StorageError as error:
            meant = _without_text(error)
            if meant is None:
                raise
            raise StorageError(meant, _RESUMING, f"Storage answers {error.status}", status=error.status) from error
        return _offset(response, _RESUMING)

    def append(self, url: str, offset: int, body: Body) -> int:
        """Send ``body`` from byte ``offset`` on; return the offset that the server is at now, which is what counts."""
        what = f"Sending bytes {offset} to {offset + body.size} of an upload"
        headers = {**_HEADERS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        reached = _offset(self._wire.send("PATCH", self._own(url), what, headers, body), what)
        if reached > offset + body.size:
            raise StorageError(Trouble.BROKEN, what, f"the server claims to have {reached} bytes")
        return reached

    def terminate(self, url: str) -> None:
        """Drop an unfinished upload; one that is finished or gone is left as it is."""
        try:
            self._wire.send("DELETE", self._own(url), "Dropping an upload", _HEADERS)
        except StorageError as error:
            if error.trouble is not Trouble.UPLOAD_GONE:
                raise

    def finish(self, url: str, offset: int) -> None:
        """Have the server make an object of an upload of which it has all ``offset`` bytes."""
        self.append(url, offset, BytesBody(b""))

    def _own(self, url: str) -> str:
        return upload_url(self._url, url, _RESUMING)


def _without_text(error: StorageError) -> Trouble | None:
    """Return what a refused HEAD means, which has no text that says which 404, 409 or 400 it is; None: what it says."""
    if error.trouble is Trouble.NOT_FOUND or (error.trouble is Trouble.BROKEN and error.status == 400):
        # A 400 means an id of another server.
        return Trouble.UPLOAD_GONE
    # Somebody else's request is just being ended, as after a killed client; no object is in the way of a question.
    return Trouble.OFFSET_CONFLICT if error.trouble is Trouble.EXISTS else None


def _offset(response: httpx.Response, what: str, otherwise: int | None = None) -> int:
    text = response.headers.get("upload-offset", "" if otherwise is None else str(otherwise))
    if not text.isdecimal():
        raise StorageError(Trouble.BROKEN, what, "the answer names no offset", transient=True)
    return int(text)
