"""The connection to Storage: one pool for all threads, time-outs everywhere, bodies in blocks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from shared.service_key import ServiceKey, is_key
from shared.storage.errors import StorageError, Trouble
from shared.storage.failures import refused, translated

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from shared.settings import StorageSettings
    from shared.storage.body import Body

_CONNECT_SECONDS = 10.0
# Idle connections are kept a little: a new one costs several round trips, and a stale one is noticed before its use.
_KEEP_ALIVE_SECONDS = 30.0


class Wire:
    """Sends requests with the project's key. ``timeout`` is the longest silence of the server, in seconds."""

    def __init__(
        self,
        settings: StorageSettings,
        connections: int,
        timeout: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.key = ServiceKey(_checked(settings.key), settings.key_file)
        # HTTP/2 stays off: one such connection shared by threads loses uploads, and its windows slow single ones down.
        self.client = httpx.Client(
            http2=False,
            auth=_Keyed(self.key),
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
            transport=transport,
        )

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn what httpx and Supabase's client raise inside into StorageError."""
        with translated(what, self.key.had):
            yield

    def send(
        self, method: str, url: str, what: str, headers: Mapping[str, str], body: Body | None = None
    ) -> httpx.Response:
        """Return the answer, read to its end. Raises StorageError unless it is one of the 2xx."""
        length = {} if method == "HEAD" else {"Content-Length": str(body.size if body else 0)}
        content = _exactly(body, what) if body else None
        with self._answered(method, url, what, {**headers, **length}, content) as response:
            with self.translated(what):
                response.read()
            return response

    @contextmanager
    def stream(self, url: str, what: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Hold the answer of a GET with its body yet to be read. Raises as ``send`` does."""
        with self._answered("GET", url, what, headers) as response:
            yield response

    @contextmanager
    def _answered(
        self, method: str, url: str, what: str, headers: Mapping[str, str], content: Iterator[bytes] | None = None
    ) -> Iterator[httpx.Response]:
        with self.translated(what):
            request = self.client.build_request(method, url, headers=headers, content=content)
            response = self.client.send(request, stream=True)
        try:
            if not response.is_success:
                with self.translated(what):
                    text = _last_words(response) if content else response.read()
                raise refused(response, text.decode(errors="replace"), what, self.key.had)
            yield response
        finally:
            response.close()


class _Keyed(httpx.Auth):
    """Gives each request the key that is in force when it leaves."""

    def __init__(self, key: ServiceKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request, with the key."""
        key = self._key.current()
        request.headers.update({"Authorization": f"Bearer {key}", "apikey": key})
        yield request


def _last_words(response: httpx.Response) -> bytes:
    """Return a refusal's body but leave its end unread, so that the connection is closed and not used again.

    A server that refuses before it has taken the whole body may leave the rest in the connection, and then neither
    hear nor answer the next request on it.
    """
    length = response.headers.get("content-length", "")
    text = bytearray()
    for block in response.iter_bytes():
        text += block
        if length.isdecimal() and response.num_bytes_downloaded >= int(length):
            break
    return bytes(text)


def _exactly(body: Body, what: str) -> Iterator[bytes]:
    """Yield the body, and stop before the server takes fewer or more bytes than were announced for a whole."""
    left = body.size
    for block in body.blocks():
        left -= len(block)
        if left < 0:
            raise StorageError(Trouble.CHANGED, what, "the content is longer than announced")
        yield block
    if left:
        raise StorageError(Trouble.CHANGED, what, "the content is shorter than announced")


def _checked(key: str) -> str:
    if not is_key(key):
        raise StorageError(Trouble.DENIED, "Opening Storage", "SUPABASE_SERVICE_KEY holds characters that no key has")
    return key
