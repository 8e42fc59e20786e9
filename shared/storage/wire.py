"""The connection to Storage: one pool for all threads, time-outs everywhere, bodies in blocks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from shared.service_key import ServiceKey, is_key
from shared.storage.addresses import uploads_url
from shared.storage.connections import Connections
from shared.storage.errors import StorageError, Trouble
from shared.storage.failures import refused, translated

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from shared.settings import StorageSettings
    from shared.storage.body import Body

_CONNECT_SECONDS = 10.0
# Idle connections are kept a little: a new one costs several round trips, and a stale one is noticed before its use.
_KEEP_ALIVE_SECONDS = 30.0
_LONGEST_REFUSAL = 1 << 20


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
        connecting, context = min(_CONNECT_SECONDS, timeout), httpx.create_ssl_context()
        # Through a proxy, or where a transport is given, objects take the same way as everything else.
        self._direct = None
        if transport is None and not any(map(_is_behind_proxy, (settings.url, uploads_url(settings.url)))):
            self._direct = Connections(
                context,
                most=connections,
                connecting=connecting,
                silence=timeout,
                idle=_KEEP_ALIVE_SECONDS,
            )
        # HTTP/2 stays off: one such connection shared by threads loses uploads, and its windows slow single ones down.
        self.client = httpx.Client(
            http2=False,
            auth=_Keyed(self.key),
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE_SECONDS,
            ),
            timeout=httpx.Timeout(timeout, connect=connecting),
            verify=context,
            transport=transport,
        )

    def close(self) -> None:
        """Close all connections."""
        self.client.close()
        if self._direct is not None:
            self._direct.close()

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
        headers, content = {**headers, **length}, _exactly(body, what) if body else None
        if self._direct is None:
            with self._answered(method, url, what, headers, content) as response:
                with self.translated(what):
                    response.read()
                return response
        with self.translated(what):
            response = self._direct.send(method, url, {**headers, **_authorization(self.key)}, content)
        return self._success(response, what)

    @contextmanager
    def stream(self, url: str, what: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Hold the answer of a GET with its body yet to be read. Raises as ``send`` does."""
        if self._direct is None:
            with self._answered("GET", url, what, headers) as response:
                yield response
            return
        with self.translated(what):
            response = self._direct.stream(url, {**headers, **_authorization(self.key)})
        with self._accepted(response, what):
            yield response

    def read(self, url: str, what: str, headers: Mapping[str, str], most: int) -> bytes:
        """Return the first bytes of what a GET brings, so many at most, in one piece. Raises as ``send`` does."""
        if self._direct is None:
            with self.stream(url, what, headers) as response, self.translated(what):
                return _first(response.iter_raw(), most)
        with self.translated(what):
            response = self._direct.read(url, {**headers, **_authorization(self.key)}, most)
        return self._success(response, what).content

    @contextmanager
    def _answered(
        self, method: str, url: str, what: str, headers: Mapping[str, str], content: Iterator[bytes] | None = None
    ) -> Iterator[httpx.Response]:
        with self.translated(what):
            request = self.client.build_request(method, url, headers=headers, content=content)
            response = self.client.send(request, stream=True)
        with self._accepted(response, what, sending=content is not None):
            yield response

    def _success(self, response: httpx.Response, what: str) -> httpx.Response:
        """Return an answer that was read. Raises StorageError unless it is one of the 2xx."""
        if not response.is_success:
            raise refused(response, response.text, what, self.key.had)
        return response

    @contextmanager
    def _accepted(self, response: httpx.Response, what: str, *, sending: bool = False) -> Iterator[None]:
        """Hold an answer that is one of the 2xx. Raises StorageError for any other."""
        try:
            if not response.is_success:
                with self.translated(what):
                    text = _last_words(response) if sending else _first(response.iter_bytes(), _LONGEST_REFUSAL)
                raise refused(response, text.decode(errors="replace"), what, self.key.had)
            yield
        finally:
            response.close()


class _Keyed(httpx.Auth):
    """Gives each request the key that is in force when it leaves."""

    def __init__(self, key: ServiceKey) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Yield the request, with the key."""
        request.headers.update(_authorization(self._key))
        yield request


def _authorization(key: ServiceKey) -> Mapping[str, str]:
    current = key.current()
    return {"Authorization": f"Bearer {current}", "apikey": current}


def _is_behind_proxy(url: str) -> bool:
    """Return whether the environment names a proxy for the address, as httpx reads it."""
    parts, proxies = urlsplit(url), getproxies()
    return bool(proxies.keys() & {parts.scheme, "all"}) and not proxy_bypass(parts.hostname or "")


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


def _first(blocks: Iterator[bytes], most: int) -> bytes:
    content = bytearray()
    for block in blocks:
        content += block
        if len(content) >= most:
            break
    return bytes(content[:most])


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
