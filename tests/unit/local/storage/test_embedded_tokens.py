from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest

from local.storage.tokens import BadTokenError, Tokens, bearer, kept_secret

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s" * 32


def test_the_service_key_names_its_role() -> None:
    assert Tokens(SECRET).read(Tokens(SECRET).service_key)["role"] == "service_role"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "Invalid Compact JWS"),
        ("abc", "Invalid Compact JWS"),
        ("a.b.c", "JWS Protected Header is invalid"),
        (Tokens("x" * 32).service_key, "signature verification failed"),
        (jwt.encode({"role": "service_role", "exp": 1}, SECRET), '"exp" claim timestamp check failed'),
        (jwt.encode({"nbf": 4_000_000_000}, SECRET), '"nbf" claim timestamp check failed'),
    ],
)
def test_tokens_that_do_not_hold(token: str, message: str) -> None:
    with pytest.raises(BadTokenError) as caught:
        Tokens(SECRET).read(token)
    assert str(caught.value) == message


@pytest.mark.parametrize("header", ["Bearer abc", "bearer   abc", "abc"])
def test_the_scheme_may_be_missing(header: str) -> None:
    assert bearer(header) == "abc"


def test_a_kept_secret_stays_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    assert kept_secret(path) == kept_secret(path)
    assert path.stat().st_mode & 0o077 == 0
