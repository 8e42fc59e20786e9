"""The addresses of Storage's calls, and the keys that have one."""

from __future__ import annotations

import re
from urllib.parse import quote

from shared.storage.errors import StorageError, Trouble

_UPLOADS = "/upload/resumable"
_HOSTED = re.compile(r"https://([a-z0-9-]+)\.supabase\.co")
_NO_BUCKET = re.compile(r"\.{0,2}|.*[/\\%?#].*", re.DOTALL)


def api_url(project: str) -> str:
    """Return the address of a project's Storage."""
    return f"{project.rstrip('/')}/storage/v1"


def uploads_url(project: str) -> str:
    """Return where resumable uploads are made: for hosted projects Supabase's host for Storage, which is faster."""
    hosted = _HOSTED.fullmatch(project.rstrip("/"))
    base = f"https://{hosted.group(1)}.storage.supabase.co" if hosted else project
    return api_url(base) + _UPLOADS


def upload_url(uploads: str, location: str, what: str) -> str:
    """Return the address of one upload below ``uploads``, given the one that the server told, now or long ago.

    Only its last part is the server's to say. The host before it is what the server believes to be called, which behind
    a proxy is often wrong, and the key is never sent to a host that the user did not name.
    """
    _, found, upload = location.partition(f"{_UPLOADS}/")
    if not found or not upload:
        raise StorageError(Trouble.BROKEN, what, "the server named no address for the upload")
    return f"{uploads}/{upload}"


def object_url(api: str, bucket: str, key: str) -> str:
    """Return where an object is read and written."""
    return f"{api}/object/{quote(bucket, safe='')}/{quote(key, safe='/')}"


def private_object_url(api: str, bucket: str, key: str) -> str:
    """Return where an object is read by key holders; the plain address calls a refused key a missing bucket."""
    return f"{api}/object/authenticated/{quote(bucket, safe='')}/{quote(key, safe='/')}"


def signed_object_url(api: str, bucket: str, key: str, told: str) -> str:
    """Return the address that the server signed. The one that it tells leaves a key's question mark as it is."""
    token = told.rpartition("token=")[2]
    return f"{api}/object/sign/{quote(bucket, safe='')}/{quote(key, safe='/')}?token={token}"


def check_bucket(bucket: str, what: str) -> None:
    """Refuse a name that would lead to another address than a bucket's."""
    if _NO_BUCKET.fullmatch(bucket):
        raise StorageError(Trouble.BUCKET_NOT_FOUND, what, f"{bucket!r} is not a name that a bucket can have")


def check_key(key: str, what: str) -> None:
    """Refuse a key that would lead elsewhere; all else that Storage refuses, it says itself.

    Percent signs count because Supabase's client decodes them, and no key on the server can hold one.
    """
    if not key or key.startswith("/") or "%" in key or not {".", ".."}.isdisjoint(key.split("/")):
        raise StorageError(Trouble.INVALID_KEY, what, f"{key!r} is not a key that an object can have")
