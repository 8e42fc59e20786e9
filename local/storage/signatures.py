"""Signed addresses: a token in the query that opens one object for one purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.storage import refusals
from local.storage.tokens import BadTokenError, Tokens

if TYPE_CHECKING:
    from starlette.requests import Request

DOWNLOAD = "download"
UPLOAD = "upload"


def signed_path(tokens: Tokens, bucket: str, key: str, seconds: int) -> str:
    """Return the path, with its token, by which anybody may read an object for so many seconds."""
    token = tokens.sign({"url": f"{bucket}/{key}", "scope": DOWNLOAD}, seconds)
    return f"/object/sign/{bucket}/{key}?token={token}"


def signed_claims(request: Request, tokens: Tokens, scope: str) -> dict[str, object]:
    """Return what the token of a signed request says. Raises a refusal unless it opens this object for ``scope``."""
    token = request.query_params.get("token")
    if token is None:
        raise refusals.invalid_request("querystring must have required property 'token'")
    try:
        claims = tokens.read(token)
    except BadTokenError as error:
        raise refusals.RefusedError(400, "InvalidJWT", str(error), "InvalidJWT") from error
    if claims.get("scope") != scope:
        raise _invalid(f"Token is not scoped for {scope}")
    if claims.get("url") != f"{request.path_params['bucket']}/{request.path_params['key']}":
        raise _invalid("Invalid signature")
    return claims


def _invalid(message: str) -> refusals.RefusedError:
    return refusals.RefusedError(400, "InvalidSignature", message, "InvalidSignature")
