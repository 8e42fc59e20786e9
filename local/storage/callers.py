"""Who is asking. Only ``service_role`` has rights; other roles see nothing but public buckets, and write nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.storage import refusals
from local.storage.tokens import BadTokenError, Tokens, bearer

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Caller:
    """The one who sends a request: whether the token held, and the role that it names."""

    authenticated: bool
    role: object

    @property
    def privileged(self) -> bool:
        """Whether the caller may do anything. Raises the database's refusal of a role that it does not know."""
        if self.role not in ("service_role", "authenticated", "anon"):
            raise refusals.unknown_role()
        return self.role == "service_role"


NOBODY = Caller(authenticated=False, role="anon")


def caller(request: Request, tokens: Tokens, *, header_required: bool = True) -> Caller:
    """Return who asks. Raises a refusal if the token does not hold.

    ``header_required`` says whether the route's schema names the header, which makes its absence another refusal.
    """
    header = request.headers.get("authorization")
    if header is None and header_required:
        raise refusals.invalid_request("headers must have required property 'authorization'")
    try:
        claims = tokens.read(bearer(header))
    except BadTokenError as error:
        raise refusals.denied(str(error)) from error
    return Caller(authenticated=True, role=claims.get("role", "anon"))


def anybody(request: Request, tokens: Tokens) -> Caller:
    """Return who asks where a missing or invalid token is no error."""
    try:
        return caller(request, tokens)
    except refusals.RefusedError:
        return NOBODY
