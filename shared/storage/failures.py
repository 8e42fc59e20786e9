"""From the exceptions of httpx and of Supabase's client to a StorageError, without a secret in its sentence."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from storage3.exceptions import StorageApiError

from shared.secrecy import mask
from shared.storage.errors import StorageError, Trouble, classify, shortened

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_TO_WRITERS = frozenset({Trouble.EXISTS, Trouble.OFFSET_CONFLICT, Trouble.UPLOAD_GONE})


def refused(response: httpx.Response, text: str, what: str, secrets: Collection[str] = ()) -> StorageError:
    """Return the error in an answer that is none of the 2xx; ``text`` is its body."""
    if response.is_redirect:
        # Behind the question mark there may be what opens it.
        target = response.headers.get("location", "elsewhere").partition("?")[0]
        return StorageError(
            Trouble.BROKEN, what, mask(f"the address redirects to {target}", secrets), status=response.status_code
        )
    content_type = response.headers.get("content-type", "")
    return classify(response.status_code, content_type, mask(text, secrets), response.headers, what=what)


def failed(
    error: httpx.HTTPError | httpx.InvalidURL | StorageApiError, what: str, secrets: Collection[str] = ()
) -> StorageError:
    """Return the error that an exception of the libraries stands for."""
    if isinstance(error, StorageApiError):
        return _api_error(error, what, secrets)
    if isinstance(error, httpx.HTTPStatusError):
        return refused(error.response, error.response.text, what, secrets)
    detail = shortened(mask(str(error), secrets)) or type(error).__name__
    if isinstance(error, httpx.PoolTimeout):
        return StorageError(Trouble.BUSY, what, "all connections of this process were in use for too long")
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError | httpx.ProxyError):
        return StorageError(Trouble.UNREACHABLE, what, f"there is no connection to Storage ({detail})")
    if isinstance(error, httpx.TimeoutException):
        return StorageError(Trouble.UNREACHABLE, what, "Storage did not answer in time")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return StorageError(Trouble.BROKEN, what, f"the address is wrong ({detail})")
    if isinstance(error, httpx.TransportError):
        return StorageError(Trouble.UNREACHABLE, what, f"the connection broke ({detail})")
    return StorageError(Trouble.BROKEN, what, f"the answer cannot be read ({detail})", transient=True)


@contextmanager
def translated(what: str, secrets: Collection[str] = ()) -> Iterator[None]:
    """Turn what the HTTP libraries raise inside into StorageError; anything else passes."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, StorageApiError) as error:
        raise failed(error, what, secrets) from error


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn an answer that lacks what it must hold into StorageError: a wrong address, or a proxy's own page."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(Trouble.BROKEN, what, "the answer is not Storage's", transient=True) from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn a refusal that only one who writes can get into the error of a server that is confused, or is none."""
    try:
        yield
    except StorageError as error:
        if error.trouble not in _TO_WRITERS:
            raise
        reason = f"Storage answers {error.status}, which is no answer to that"
        raise StorageError(Trouble.BROKEN, what, reason, transient=True, status=error.status) from error


def _api_error(error: StorageApiError, what: str, secrets: Collection[str]) -> StorageError:
    """Supabase's client keeps neither headers nor the server's code; the answer itself hangs in the chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, httpx.HTTPStatusError):
            return refused(cause.response, cause.response.text, what, secrets)
        cause = cause.__context__
    status = int(error.status) if str(error.status).isdecimal() else 500
    return classify(status, "text/plain", mask(str(error.message), secrets), {}, what=what)
