"""Kept-alive connections of the standard library, for the bytes of objects.

A request over them costs a third of the CPU time that the layers of httpx take, and so does a gigabyte; with thousands
of small objects, and with large ones, that is what limits. What comes back is an answer of httpx all the same, and what
goes wrong one of its errors.
"""

from __future__ import annotations

import select
import threading
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTP_PORT, HTTPS_PORT, HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import SHUT_RDWR, socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

_BLOCK = 256 << 10
_LONGEST_ANSWER = 1 << 20
# The hosted service stands behind a network that takes clients without a name for attacks.
_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "ferry"}


class Connections:
    """At most ``most`` connections in use, to whatever servers, shared by threads; each is used by one at a time.

    The limits are in seconds: for the making of a connection, for the server's silence, which is as well for how long
    one waits for a free connection, and for how long an idle one is kept.
    """

    def __init__(self, context: ssl.SSLContext, *, most: int, connecting: float, silence: float, idle: float) -> None:
        self._context = context
        self._free = threading.BoundedSemaphore(most)
        self._connecting, self._silence, self._longest_idle = connecting, silence, idle
        self._closed = False
        self._lock = threading.Lock()
        # By the server, as an address names it.
        self._idle: dict[str, list[tuple[HTTPConnection, float]]] = {}
        self._busy: dict[HTTPConnection, str] = {}

    def stream(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """Return the answer to a GET with its body yet to be read; to be closed. Raises httpx.TransportError."""
        body = _Body(*self._asked("GET", url, headers), self._given_back)
        return httpx.Response(body.answer.status, headers=_headers(body.answer), stream=body)

    def read(self, url: str, headers: Mapping[str, str], most: int) -> httpx.Response:
        """Return the answer to a GET with the first bytes of its body, so many at most; a refusal is read to its end.

        Raises httpx.TransportError.
        """
        connection, answer = self._asked("GET", url, headers)
        return self._read(connection, answer, most if _is_success(answer) else _LONGEST_ANSWER)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], blocks: Iterator[bytes] | None = None
    ) -> httpx.Response:
        """Return the answer to what is sent, read to its end. The headers say how long ``blocks`` are together.

        Raises httpx.TransportError, and whatever ``blocks`` raises.
        """
        connection, answer = self._asked(method, url, headers, blocks)
        # A server that refuses before it has taken the whole body may leave the rest in the connection.
        again = blocks is None or _is_success(answer)
        return self._read(connection, answer, _LONGEST_ANSWER, again=again)

    def _asked(
        self, method: str, url: str, headers: Mapping[str, str], blocks: Iterator[bytes] | None = None
    ) -> tuple[HTTPConnection, HTTPResponse]:
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        connection = self._taken(server)
        try:
            return connection, self._exchanged(
                connection, method, url.removeprefix(server), headers, blocks or iter(())
            )
        except BaseException:  # The body may raise anything; no connection must be missing afterwards.
            self._given_back(connection, False)
            raise

    def _exchanged(
        self, connection: HTTPConnection, method: str, target: str, headers: Mapping[str, str], blocks: Iterator[bytes]
    ) -> HTTPResponse:
        """Return the answer with its body yet to be read, and certain to have an end that can be told."""
        if connection.sock is None:
            self._connect(connection)
        if self._closed:  # While the connection was made, or before.
            raise httpx.ConnectError("all connections are closed")
        with _told(httpx.WriteTimeout, httpx.WriteError):
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in {**_ALWAYS, **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
        _give(connection.sock, blocks)
        with _told(httpx.ReadTimeout, httpx.ReadError):
            answer = connection.getresponse()
        if answer.status < HTTPStatus.OK:
            # The answer itself is still to come, and would be taken for that to the next request.
            raise httpx.RemoteProtocolError(f"the server says {answer.status} before it answers")
        if answer.length is None and not answer.chunked:
            # It could not be told from a broken connection; such is one that breaks within the head, too.
            raise httpx.RemoteProtocolError("the answer does not say how long it is")
        return answer

    def _read(
        self, connection: HTTPConnection, answer: HTTPResponse, most: int, *, again: bool = True
    ) -> httpx.Response:
        """Return the answer with so many bytes of its body at most, and give the connection back."""
        whole = False
        try:
            with _told(httpx.ReadTimeout, httpx.ReadError):
                content = answer.read(most)
            if answer.length and len(content) < most:
                raise _cut_short(answer)
            whole = answer.isclosed()
        finally:
            self._given_back(connection, whole and again)
        return httpx.Response(answer.status, headers=_headers(answer), content=content)

    def close(self) -> None:
        """Close all connections. What is still being read ends with an error."""
        with self._lock:
            self._closed = True
            for kept in self._idle.values():
                for connection, _ in kept:
                    connection.close()
            self._idle.clear()
            for connection in self._busy:
                with suppress(OSError, TypeError):  # It may be closed, or be made, in its own thread.
                    # The method of an encrypted socket has it go on without encryption, in both directions.
                    socket.shutdown(connection.sock, SHUT_RDWR)

    def _connect(self, connection: HTTPConnection) -> None:
        with _told(httpx.ConnectTimeout, httpx.ConnectError):
            connection.connect()
            connection.sock.settimeout(self._silence)

    def _taken(self, server: str) -> HTTPConnection:
        """Return the connection to ``server`` that was used last, or a new one where none is left."""
        if not self._free.acquire(timeout=self._silence):
            raise httpx.PoolTimeout("all connections are in use")
        with self._lock:
            kept = self._idle.get(server)
            connection, since = kept.pop() if kept else (self._new(server), 0.0)
            self._busy[connection] = server
        idle = time.monotonic() - since
        if connection.sock is not None and (idle > self._longest_idle or _is_closed(connection)):
            connection.close()
        return connection

    def _new(self, server: str) -> HTTPConnection:
        parts = urlsplit(server)
        # Without a port, the end of an address of IPv6 would be taken for one.
        host = parts.hostname or ""
        if parts.scheme == "https":
            port = parts.port or HTTPS_PORT
            return HTTPSConnection(host, port, timeout=self._connecting, context=self._context)
        return HTTPConnection(host, parts.port or HTTP_PORT, timeout=self._connecting)

    def _given_back(self, connection: HTTPConnection, usable: bool) -> None:
        with self._lock:
            server = self._busy.pop(connection)
            usable = usable and not self._closed
            if usable:
                self._idle.setdefault(server, []).append((connection, time.monotonic()))
        self._free.release()
        if not usable:
            connection.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer. At its closing ``give_back`` gets its connection, and whether it was read to its end."""

    def __init__(
        self, connection: HTTPConnection, answer: HTTPResponse, give_back: Callable[[HTTPConnection, bool], None]
    ) -> None:
        self.answer = answer
        self._connection: HTTPConnection | None = connection
        self._give_back = give_back
        self._at_end = False

    def __iter__(self) -> Iterator[bytes]:
        with _told(httpx.ReadTimeout, httpx.ReadError):
            while block := self.answer.read1(_BLOCK):
                yield block
        if self.answer.length:
            raise _cut_short(self.answer)
        self._at_end = True

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.answer.close()
            self._give_back(connection, self._at_end)


def _give(line: socket, blocks: Iterator[bytes]) -> None:
    """Send a body, unless the server stops taking it: then it may have said why."""
    for block in blocks:
        left = memoryview(block)
        while left:
            try:
                # ``sendall`` would have to be through with a whole block before the time is over, on any line.
                left = left[line.send(left) :]
            except TimeoutError as error:
                raise httpx.WriteTimeout(str(error)) from error
            except OSError:
                return


@contextmanager
def _told(late: type[httpx.TransportError], broken: type[httpx.TransportError]) -> Iterator[None]:
    """Turn what the standard library raises into an error of httpx."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except (OSError, HTTPException, UnicodeError) as error:  # The last is of a host that no name server can know.
        raise broken(str(error) or type(error).__name__) from error


def _is_success(answer: HTTPResponse) -> bool:
    return httpx.codes.is_success(answer.status)


def _headers(answer: HTTPResponse) -> list[tuple[bytes, bytes]]:
    """Return the headers byte for byte: not all that servers say is ASCII."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.getheaders()]


def _cut_short(answer: HTTPResponse) -> httpx.ReadError:
    return httpx.ReadError(f"the last {answer.length} bytes are missing")


def _is_closed(connection: HTTPConnection) -> bool:
    """Return whether the server has closed an idle connection, or sent what nobody has asked for."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
