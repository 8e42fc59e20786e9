"""What every route works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.storage.tus.locks import UploadLocks

if TYPE_CHECKING:
    from local.storage.catalogue.records import Bucket
    from local.storage.catalogue.store import Store
    from local.storage.options import Options
    from local.storage.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that a server is made of."""

    store: Store
    tokens: Tokens
    options: Options
    locks: UploadLocks = field(default_factory=UploadLocks)

    def size_limit(self, bucket: Bucket) -> int:
        """Return how many bytes an object of that bucket may have."""
        return min(bucket.file_size_limit or self.options.size_limit, self.options.size_limit)
