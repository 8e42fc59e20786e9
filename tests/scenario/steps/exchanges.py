"""Storage with a hand on every exchange: each can be the one in which the uploader is killed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from local.storage.stats import route_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_GONE: Message = {"type": "http.disconnect"}


class Moment(StrEnum):
    """When in an exchange the uploader is killed."""

    BEFORE = "before the server sees it"
    DURING = "in the middle of its body"
    AFTER = "when it is done and not yet answered"


@dataclass(frozen=True, slots=True)
class Cut:
    """The exchange of number ``at`` (from 1) that has such a moment at all is interrupted then."""

    at: int
    moment: Moment


class Exchanges:
    """The app behind a hand that kills. One uploader after another is watched; ``watch`` begins with the next.

    ``done`` is called after each exchange of the uploader, before it is answered.
    """

    def __init__(self, app: ASGIApp, done: Callable[[Scope], None]) -> None:
        self._app = app
        self._done = done
        self._cut: Cut | None = None
        self._watching = False
        self._kill: Callable[[], None] = _nobody
        self.seen: list[str] = []
        self.struck: str | None = None

    def watch(self, cut: Cut | None, kill: Callable[[], None]) -> None:
        """Count the exchanges from now on, and call ``kill`` in the one that ``cut`` names."""
        self._cut, self._kill = cut, kill
        self.seen, self.struck = [], None
        self._watching = True

    def rest(self) -> None:
        """Count no more: those who ask now are no uploaders."""
        self._watching = False

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Count nothing during the block."""
        self._watching = False
        yield
        self._watching = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not self._watching:
            await self._app(scope, receive, send)
            return
        moment = self._struck(scope)
        if moment is Moment.BEFORE:
            self._kill()
            await _hung_up(receive)
            return
        body = _Broken(receive, _length(scope) // 2, self._kill) if moment is Moment.DURING else receive
        answer = _Answer(self, scope, receive, send, killing=moment is Moment.AFTER)
        await self._app(scope, body, answer)

    async def finish(self, scope: Scope, receive: Receive, *, killing: bool) -> None:
        """Take note that an exchange is done; ``killing``: and that nobody is to hear of it."""
        self._done(scope)
        if killing:
            self._kill()
            await _hung_up(receive)

    def _struck(self, scope: Scope) -> Moment | None:
        """Count the exchange, and return the moment in which it is to be interrupted, if any."""
        cut = self._cut
        if cut is not None and cut.moment is Moment.DURING and _length(scope) < 2:
            return None
        what = f"{scope['method']} {route_class(scope['path'])}"
        self.seen.append(what)
        if cut is None or self.struck is not None or len(self.seen) != cut.at:
            return None
        self.struck = what
        return cut.moment


class _Broken:
    """A request's body of which ``limit`` bytes arrive before its sender is killed."""

    def __init__(self, receive: Receive, limit: int, kill: Callable[[], None]) -> None:
        self._receive = receive
        self._left = limit
        self._kill = kill

    async def __call__(self) -> Message:
        if self._left == 0:
            self._kill()
            await _hung_up(self._receive)
            return _GONE
        message = await self._receive()
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        return {**message, "body": body, "more_body": True} if message["type"] == "http.request" else message


class _Answer:
    """The way back of one exchange."""

    def __init__(self, exchanges: Exchanges, scope: Scope, receive: Receive, send: Send, *, killing: bool) -> None:
        self._exchanges = exchanges
        self._scope = scope
        self._receive = receive
        self._send = send
        self._killing = killing
        self._begun = False

    async def __call__(self, message: Message) -> None:
        if not self._begun:
            self._begun = True
            await self._exchanges.finish(self._scope, self._receive, killing=self._killing)
        if not self._killing:
            await self._send(message)


async def _hung_up(receive: Receive) -> None:
    """Return when the other side is gone; what it still sent is dropped."""
    while (await receive())["type"] != "http.disconnect":
        continue


def _length(scope: Scope) -> int:
    return int(dict(scope["headers"]).get(b"content-length", b"0"))


def _nobody() -> None:
    return None
