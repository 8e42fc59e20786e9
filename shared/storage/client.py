"""The Storage client: every call that Ferry makes to Supabase Storage, safe to share between threads.

Control calls go through Supabase's own client; the bytes are moved by our own code, because Supabase's client holds
whole objects in memory and knows no resumable upload. Every method raises StorageError and retries nothing.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Self

from storage3 import SyncStorageClient

from shared.storage.addresses import (
    api_url,
    check_bucket,
    check_key,
    object_url,
    private_object_url,
    signed_object_url,
    uploads_url,
)
from shared.storage.download import Download, wanted
from shared.storage.errors import StorageError, Trouble
from shared.storage.failures import reading, understood
from shared.storage.listing import PAGE, Listing
from shared.storage.metadata import user_metadata
from shared.storage.resumable import ResumableUploads
from shared.storage.rows import record_of_bucket, record_of_info
from shared.storage.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import httpx
    from storage3.types import CreateOrUpdateBucketOptions

    from shared.settings import StorageSettings
    from shared.storage.body import Body
    from shared.storage.records import BucketRecord, FolderListing, ObjectRecord, Upload

SMALL_DOCUMENT = 16 << 20


class Storage:
    """A project's Storage: at most ``connections`` transfers at a time, and as many other calls.

    ``timeout`` is the longest silence in seconds.
    """

    def __init__(
        self,
        settings: StorageSettings,
        *,
        connections: int = 16,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._api = api_url(settings.url)
        self._wire = Wire(settings, connections, timeout, transport)
        self._control = SyncStorageClient(f"{self._api}/", {}, http_client=self._wire.client)
        self._listing = Listing(self._wire, self._control)
        self._uploads = ResumableUploads(self._wire, uploads_url(settings.url))

    def close(self) -> None:
        """Close all connections. Calls that are under way in other threads fail."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def renew_key(self) -> None:
        """Read the key's file again now, if there is one. Raises FerryError where it holds no key.

        A file that has changed is noticed at the next call anyway.
        """
        self._wire.key.renew()

    # Buckets

    def bucket(self, name: str) -> BucketRecord:
        """Return the bucket of that name. Raises BUCKET_NOT_FOUND, also where the key may not see it."""
        what = f"Looking up the bucket {name}"
        with reading(what), self._calling(what, name):
            return record_of_bucket(self._control.get_bucket(name))

    def buckets(self) -> tuple[BucketRecord, ...]:
        """Return every bucket that the key may see; one that may see none is told of none, and not refused."""
        what = "Listing the buckets"
        with reading(what), self._wire.translated(what), understood(what):
            return tuple(record_of_bucket(found) for found in self._control.list_buckets())

    def make_bucket(
        self,
        name: str,
        *,
        public: bool = False,
        file_size_limit: int | None = None,
        allowed_mime_types: Sequence[str] | None = None,
    ) -> None:
        """Make a bucket; ``file_size_limit`` is bytes. Raises EXISTS: exactly one of several callers makes it."""
        options: CreateOrUpdateBucketOptions = {"public": public}
        if file_size_limit is not None:
            options["file_size_limit"] = file_size_limit
        if allowed_mime_types is not None:
            options["allowed_mime_types"] = list(allowed_mime_types)
        with self._calling(f"Making the bucket {name}", name):
            self._control.create_bucket(name, options=options)

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket with all that is in it.

        It is emptied object by object, because the server's own way of emptying may take an hour to have an effect.
        """
        for page in self._listing.pages(name, ""):
            self.remove(name, [record.key for record in page])
        with self._calling(f"Removing the bucket {name}", name):
            self._control.delete_bucket(name)

    # Finding out

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectRecord]:
        """Yield every object below the folder ``prefix`` (empty: the whole bucket), placeholders of folders included.

        Memory is one page, however many there are. Raises BUCKET_NOT_FOUND instead of finding nothing in no bucket.
        """
        found = False
        for page in self._listing.pages(bucket, prefix):
            found = found or bool(page)
            yield from page
        if not found:
            self.bucket(bucket)

    def newest(self, bucket: str, start: str) -> tuple[ObjectRecord, ...]:
        """Return the objects whose keys begin with ``start`` and that changed last, newest first, at most 1,000.

        A server that cannot sort its listing by time gives others, or refuses.
        """
        return self._listing.newest(bucket, start)

    def folder(self, bucket: str, prefix: str) -> FolderListing:
        """Return what is directly in the folder ``prefix``. Raises BUCKET_NOT_FOUND."""
        listing = self._listing.folder(bucket, prefix)
        if not listing.folders and not listing.files:
            self.bucket(bucket)
        return listing

    def info(self, bucket: str, key: str) -> ObjectRecord | None:
        """Return the server's record of an object with its user metadata, or None where there is no such object."""
        try:
            what = f"Looking up {bucket}/{key}"
            with reading(what), self._calling(what, bucket, key):
                return record_of_info(self._control.from_(bucket).info(key))
        except StorageError as error:
            if error.trouble is Trouble.NOT_FOUND:
                return None
            if error.trouble is Trouble.BUCKET_NOT_FOUND:
                # The server says so of a refused key, too; asked for the bucket itself, it tells them apart.
                self.bucket(bucket)
            raise

    def takes(self, bucket: str, size: int, content_type: str = "application/octet-stream") -> bool:
        """Return whether objects of ``size`` bytes are within the limits of bucket and project, by announcing one.

        Raises WRONG_TYPE where the bucket does not take ``content_type``, and BUCKET_NOT_FOUND.
        """
        probe = f".takes-{uuid.uuid4().hex}"
        try:
            # An announced object of no bytes would exist at once.
            upload = self.create_upload(bucket, probe, max(size, 1), content_type=content_type, metadata={})
        except StorageError as error:
            if error.trouble is Trouble.TOO_LARGE:
                return False
            raise
        # The question is answered; what is not dropped now expires.
        with suppress(StorageError):
            self.terminate(upload.url)
        return True

    # Changing

    def move(self, bucket: str, source: str, target: str) -> None:
        """Rename an object. Raises EXISTS where ``target`` is there: of several callers exactly one succeeds."""
        check_key(source, f"Moving an object in {bucket}")
        with self._calling(f"Moving {bucket}/{source} to {target}", bucket, target):
            self._control.from_(bucket).move(source, target)

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object with its user metadata. Raises EXISTS where ``target`` was there well before."""
        check_key(source, f"Copying an object in {bucket}")
        with self._calling(f"Copying {bucket}/{source} to {target}", bucket, target):
            self._control.from_(bucket).copy(source, target)

    def remove(self, bucket: str, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there do not matter."""
        remaining = iter(keys)
        while batch := list(islice(remaining, PAGE)):
            with self._calling(f"Removing {len(batch)} objects from {bucket}", bucket):
                self._control.from_(bucket).remove(batch)

    def signed_urls(self, bucket: str, keys: Sequence[str], seconds: int) -> dict[str, str]:
        """Return, by key, an address at which anyone can read the object for ``seconds``; at most 1,000 at once.

        Each is a secret as long as it works. Of objects that are not there, there is none.
        """
        what = f"Signing addresses in {bucket}"
        for key in keys:
            check_key(key, what)
        with self._calling(what, bucket):
            # The call for a single key signs a key with a question mark in a form that no request can have.
            told = self._control.from_(bucket).create_signed_urls(list(keys), seconds) if keys else []
            found = {str(row["path"]): row["signedUrl"] for row in told if row["signedUrl"]}
        return {key: signed_object_url(self._api, bucket, key, found[key]) for key in keys if key in found}

    # Bytes

    def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        upsert: bool = True,
    ) -> None:
        """Upload an object in one request; above 6 MB Supabase asks for a resumable upload.

        Without ``upsert`` an object that was there well before raises EXISTS, but this excludes nobody: see ``move``.
        """
        what = f"Uploading {bucket}/{key}"
        _check(what, bucket, key)
        headers = {"Content-Type": content_type, "x-upsert": "true" if upsert else "false"}
        if metadata:
            headers["x-metadata"] = user_metadata(metadata)
        self._wire.send("POST", object_url(self._api, bucket, key), what, headers, body)

    def read(self, bucket: str, key: str, limit: int = SMALL_DOCUMENT) -> bytes | None:
        """Return the content of a small object, or None where there is none. Raises TOO_LARGE above ``limit`` bytes."""
        what = f"Reading {bucket}/{key}"
        _check(what, bucket, key)
        try:
            with reading(what):
                content = self._wire.read(private_object_url(self._api, bucket, key), what, wanted(0), limit + 1)
        except StorageError as error:
            if error.trouble is Trouble.NOT_FOUND:
                return None
            raise
        if len(content) > limit:
            advice = "Something else than the expected document lies there."
            raise StorageError(Trouble.TOO_LARGE, what, f"it is larger than {limit} bytes", advice=advice)
        return content

    @contextmanager
    def open(self, bucket: str, key: str, *, start: int = 0) -> Iterator[Download]:
        """Hold an object open for reading from byte ``start`` on. Raises NOT_FOUND; CHANGED where it ends before."""
        what = f"Reading {bucket}/{key}"
        _check(what, bucket, key)
        url = private_object_url(self._api, bucket, key)
        with ExitStack() as held:
            with reading(what):
                response = held.enter_context(self._wire.stream(url, what, wanted(start)))
            yield Download(self._wire, response, start, what)

    # Resumable uploads

    def create_upload(
        self, bucket: str, key: str, size: int, *, content_type: str, metadata: Mapping[str, str]
    ) -> Upload:
        """Announce an object of ``size`` bytes, to replace any of that key when complete; an empty one is at once."""
        what = f"Uploading {bucket}/{key}"
        _check(what, bucket, key)
        return self._uploads.create(bucket, key, size, content_type=content_type, metadata=metadata, what=what)

    def upload_offset(self, url: str) -> int:
        """Return how many bytes of an upload the server has. Raises UPLOAD_GONE where it has to be started again."""
        return self._uploads.offset(url)

    def append(self, url: str, offset: int, body: Body) -> int:
        """Send the upload's bytes from ``offset`` on; return the offset reached, which may be less than was sent."""
        return self._uploads.append(url, offset, body)

    def finish(self, url: str, offset: int) -> None:
        """Complete an upload that has all its ``offset`` bytes although ``info`` says that nothing is there."""
        self._uploads.finish(url, offset)

    def terminate(self, url: str) -> None:
        """Drop an unfinished upload; one that is finished or gone is left as it is."""
        self._uploads.terminate(url)

    @contextmanager
    def _calling(self, what: str, bucket: str, key: str | None = None) -> Iterator[None]:
        """Guard one control call."""
        _check(what, bucket, key)
        with self._wire.translated(what), understood(what):
            yield


def _check(what: str, bucket: str, key: str | None) -> None:
    check_bucket(bucket, what)
    if key is not None:
        check_key(key, what)
