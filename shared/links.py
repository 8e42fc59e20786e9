"""Signed addresses: by one, anybody can read an object of a private bucket for a while, without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.contract.bucket import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.storage.client import Storage

# For shorter than that they could not be renewed in time, and longer than that no training runs on RunPod.
LEAST_SECONDS, MOST_SECONDS = 60, 604_800


def signed_links(storage: Storage, bucket: str, keys: Sequence[str], seconds: int, now: float) -> tuple[Link, ...]:
    """Return a link to each object that is there, in the order of ``keys``, good for ``seconds`` from ``now`` on.

    ``now`` is Unix seconds before the call. A link is a secret as long as it works: it belongs where the job asked for
    it, and nowhere else. Raises StorageError.
    """
    urls = storage.signed_urls(bucket, keys, seconds)
    return tuple(Link(key=key, url=urls[key], expires_at=now + seconds) for key in keys if key in urls)
