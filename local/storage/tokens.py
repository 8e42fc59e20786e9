"""Tokens: HS256 with a secret that the server makes once and keeps in its folder."""

from __future__ import annotations

import json
import os
import secrets
import time
from typing import TYPE_CHECKING

import jwt

if TYPE_CHECKING:
    from pathlib import Path

_ALGORITHM = "HS256"
_ISSUED, _EXPIRES = 1_700_000_000, 2_100_000_000
"""Fixed, so that the same secret gives the same keys after every start."""
_PARTS = 3
SHORTEST_SECRET = 32
"""Characters; HS256 asks for 256 bits."""


class BadTokenError(Exception):
    """A token that does not hold; the text is the one that the real server's library has."""


class Tokens:
    """Makes tokens and reads them."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    @property
    def service_key(self) -> str:
        """The key that may do everything."""
        return self._key("service_role")

    @property
    def anon_key(self) -> str:
        """The key that may do nothing but read public buckets."""
        return self._key("anon")

    def sign(self, claims: dict[str, object], seconds: int) -> str:
        """Return a token with ``claims`` that holds for ``seconds`` from now."""
        issued = int(time.time())
        return self._encode({**claims, "iat": issued, "exp": issued + seconds})

    def read(self, token: str) -> dict[str, object]:
        """Return the claims. Raises BadTokenError."""
        if token.count(".") != _PARTS - 1:
            raise BadTokenError("Invalid Compact JWS")
        try:
            jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise BadTokenError("JWS Protected Header is invalid") from None
        try:
            return dict(jwt.decode(token, self._secret, algorithms=[_ALGORITHM], options={"verify_aud": False}))
        except jwt.ExpiredSignatureError:
            raise BadTokenError('"exp" claim timestamp check failed') from None
        except jwt.ImmatureSignatureError:
            raise BadTokenError('"nbf" claim timestamp check failed') from None
        except jwt.InvalidAlgorithmError:
            raise BadTokenError('"alg" (Algorithm) Header Parameter value not allowed') from None
        except jwt.InvalidTokenError:
            raise BadTokenError("signature verification failed") from None

    def _key(self, role: str) -> str:
        return self._encode({"role": role, "iss": "supabase", "iat": _ISSUED, "exp": _EXPIRES})

    def _encode(self, claims: dict[str, object]) -> str:
        # The real server's tokens carry no "typ" where it signs URLs; nobody looks at it.
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)


def kept_secret(path: Path) -> str:
    """Return the secret in the file ``path``, which is made, for the owner only, if it is not there."""
    try:
        return str(json.loads(path.read_text())["secret"])
    except FileNotFoundError:
        secret = secrets.token_hex(32)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"secret": secret}))
        fresh.replace(path)
        return secret


def bearer(authorization: str | None) -> str:
    """Return the token of an Authorization header; ``Bearer`` may be missing or in lower case."""
    text = authorization or ""
    scheme, _, token = text.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else text
