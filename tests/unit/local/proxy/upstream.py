"""What stands behind the proxy in its tests: a server that notes what it hears, and a client that speaks bare TCP."""

from __future__ import annotations

import re
import select
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.background import served
from shared.clock import Deadline, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message, Receive, Scope, Send

SECONDS = 30.0
_LOOK_SECONDS = 0.005
BLOCK = 64 << 10


def until(condition: Callable[[], bool], what: str) -> None:
    """Return once the condition holds; fail where it does not come to that."""
    deadline, pause = Deadline(SystemClock(), SECONDS), threading.Event()
    while not condition():
        assert not deadline.passed(), f"{what}: not within {SECONDS:.0f} s"
        pause.wait(_LOOK_SECONDS)


@dataclass
class Heard:
    """A request as it reached the server. ``ended``: its body came to its end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    hung_up: bool = False


class Upstream:
    """An ASGI app. ``/echo`` gives the body back in chunks; ``/size/N`` gives N bytes, with a length.

    ``/refuse`` answers before it has read the body, ``/never`` not at all, ``/away`` names another address of its own,
    and everything else says ``done`` when it has read the body.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.clients: set[tuple[str, int]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        heard = Heard(scope["method"], scope["path"], headers)
        self.heard.append(heard)
        self.clients.add(tuple(scope["client"]))
        if heard.path == "/refuse":
            await _answer(send, 413, b"too much")
            return
        await self._take(heard, receive)
        if not heard.ended or heard.path == "/never":
            heard.hung_up = not heard.ended or (await receive())["type"] == "http.disconnect"
        elif heard.path == "/echo":
            await _chunks(send, bytes(heard.body))
        elif sized := re.fullmatch(r"/size/(\d+)", heard.path):
            await _answer(send, 200, b"" if heard.method == "HEAD" else content(int(sized[1])), length=int(sized[1]))
        elif heard.path == "/away":
            await _answer(send, 201, b"", location=f"http://{headers['host']}/elsewhere?x=1")
        elif heard.method == "PATCH":
            await _answer(send, 204, None)
        else:
            await _answer(send, 200, b"done")

    async def _take(self, heard: Heard, receive: Receive) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            heard.body += message.get("body", b"")
            more = message.get("more_body", False)
        heard.ended = True


def content(size: int) -> bytes:
    """Return bytes by which one sees where they were cut."""
    return b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]


@contextmanager
def upstream() -> Iterator[tuple[Upstream, str]]:
    """Yield the server and its URL."""
    app = Upstream()
    with served(app) as url:
        yield app, url


async def _answer(
    send: Send, status: int, body: bytes | None, *, length: int | None = None, location: str | None = None
) -> None:
    headers = []
    if body is not None:
        headers.append((b"content-length", str(len(body) if length is None else length).encode()))
    if location is not None:
        headers.append((b"location", location.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body or b""})


async def _chunks(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for start in range(0, len(body), BLOCK):
        message: Message = {"type": "http.response.body", "body": body[start : start + BLOCK], "more_body": True}
        await send(message)
    await send({"type": "http.response.body"})


class Bare:
    """A client without any cleverness: what it sends and what comes, byte for byte."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), SECONDS)

    def say(self, text: bytes) -> None:
        self._socket.sendall(text)

    def ask(self, method: str, path: str, body: bytes = b"", *, length: int | None = None, more: str = "") -> None:
        """Send a request whose body may be shorter than it says."""
        announced = len(body) if length is None else length
        head = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nContent-Length: {announced}\r\n{more}\r\n"
        self.say(head.encode() + body)

    def hear(self, end: bytes = b"\r\n\r\n") -> bytes:
        """Return what comes up to ``end``."""
        text = b""
        while end not in text:
            block = self._socket.recv(1)
            assert block, text
            text += block
        return text

    def rest(self) -> bytes:
        """Return what comes until the other side closes. Raises ConnectionResetError where it resets."""
        text = b""
        while block := self._socket.recv(BLOCK):
            text += block
        return text

    def has_news(self) -> bool:
        """Return whether something has come, were it the end."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def end(self) -> None:
        """Say that nothing more will come, and go on listening."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def bare(url: str) -> Iterator[Bare]:
    with closing(Bare(url)) as client:
        yield client
