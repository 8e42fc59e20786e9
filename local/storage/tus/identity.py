"""An upload's identity: bucket, key and the version that it will make, which its address holds in base64url."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from local.storage import names, refusals

_LEAST_PARTS = 2


@dataclass(frozen=True, slots=True)
class UploadId:
    """Which upload an address means."""

    bucket: str
    key: str
    version: str

    @classmethod
    def read(cls, segment: str) -> UploadId:
        """Return the identity in an address's last segment. Raises a refusal."""
        try:
            text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode(errors="replace")
        except (binascii.Error, ValueError):
            text = ""
        bucket, *rest = text.split("/")
        if len(rest) < _LEAST_PARTS - 1:
            raise refusals.tus(400, "Invalid upload id")
        *key, version = rest
        if not version:
            raise refusals.tus(400, "Version not provided")
        identity = cls(bucket, "/".join(key), version)
        identity.check()
        return identity

    def check(self) -> None:
        """Raise a refusal unless bucket and key may be called so."""
        names.check_bucket(self.bucket)
        names.check_key(self.key)

    def segment(self) -> str:
        """Return what ``read`` reads."""
        return base64.urlsafe_b64encode(f"{self.bucket}/{self.key}/{self.version}".encode()).decode().rstrip("=")
