"""Storage: whether it is there, what time it has, and whether it takes the key."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from shared.storage.addresses import api_url, uploads_url
from shared.storage.failures import translated
from uploader.doctor.bucket import bucket_checks
from uploader.doctor.checks import Check, doubtful, fine
from uploader.doctor.key import check_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shared.settings import StorageSettings
    from shared.storage.client import Storage
    from shared.storage.records import BucketRecord
    from uploader.doctor.checks import Finding

# The server's time comes in whole seconds; less than this is none of a clock's business.
CLOCK_SECONDS = 30.0
_GREETING_SECONDS = 10.0
_MOST_NAMES = 10


def storage_checks(settings: StorageSettings, storage: Storage, buckets: Sequence[str]) -> Iterator[Check]:
    """Yield what there is to ask of Storage, of each of ``buckets`` as well."""
    address = Check("address", lambda: check_address(settings.url, time.monotonic))
    access = Check("access", lambda: check_access(storage.buckets(), buckets), needs=address)
    yield address
    yield Check("clock", lambda: check_clock(settings.url, time.time), needs=address)
    yield Check("key", lambda: check_key(settings.key, settings.url, time.time()))
    yield access
    for name in buckets:
        yield from bucket_checks(settings.url, storage, name, access)


def check_address(url: str, clock: Callable[[], float], transport: httpx.BaseTransport | None = None) -> Finding:
    """Return whether anybody answers there at all. Raises StorageError."""
    begun = clock()
    _greet(url, transport)
    milliseconds = (clock() - begun) * 1000
    host, large = urlsplit(url).hostname or url, urlsplit(uploads_url(url)).hostname
    direct = f"; large files go to {large}" if large != host else ""
    return fine(f"{host} answers in {milliseconds:.0f} ms{direct}")


def check_clock(url: str, now: Callable[[], float], transport: httpx.BaseTransport | None = None) -> Finding:
    """Return how far this machine's clock is from the server's. Raises StorageError."""
    response = _greet(url, transport)
    try:
        there = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
    except ValueError:
        return fine("the server does not tell its time, so there is nothing to compare with")
    ahead = now() - there
    if abs(ahead) <= CLOCK_SECONDS:
        return fine("this machine's and the server's agree")
    return doubtful(
        f"this machine's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's",
        "Set the clock: certificates are judged by it, and the times in logs and manifests come from it.",
    )


def check_access(there: Sequence[BucketRecord], buckets: Sequence[str]) -> Finding:
    """Return what the key sees, given the buckets that are ``there``, and the names of those that are wanted."""
    names = [bucket.name for bucket in there]
    if not names:
        return doubtful(
            "the key is taken, but it sees no bucket", "Make one for datasets and one for results in Supabase."
        )
    told = f"the key is taken; there are {', '.join(names[:_MOST_NAMES])}{', …' if names[_MOST_NAMES:] else ''}"
    if buckets:
        return fine(told)
    return doubtful(told, "Name those of your jobs with --bucket: then it is tried whether they can be written.")


def _greet(url: str, transport: httpx.BaseTransport | None) -> httpx.Response:
    """Return whatever answers; the key is not shown to it."""
    client = httpx.Client(transport=transport, timeout=_GREETING_SECONDS)
    with translated(f"Reaching {url}"), client:
        return client.get(f"{api_url(url)}/status")
