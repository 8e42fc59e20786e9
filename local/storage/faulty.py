"""The app as the faults leave it: requests held up, answered by somebody else, cut off, or fed with broken bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from local.storage.exchange import exchange_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local.storage.connections import Connections
    from local.storage.faults import ActiveFault, Answer, Faults

_CUT: Message = {"type": "http.disconnect"}


class Faulty:
    """The app behind the faults that are switched on."""

    def __init__(self, app: ASGIApp, faults: Faults, connections: Connections) -> None:
        self._app = app
        self._faults = faults
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/storage/"):
            await self._app(scope, receive, send)
            return
        for active in self._faults.hitting(scope["method"], scope["path"]):
            fault = active.fault
            if fault.latency:
                await active.pause(fault.latency)
            if fault.reset:
                self._connections.abort(scope)
                return
            if fault.answer is not None:
                await _response(fault.answer)(scope, receive, send)
                return
            exchange_of(scope).skip_commit |= fault.skip_commit
            receive = FaultyBody(active, scope, receive, self._connections)
            send = FaultyAnswer(active, scope, send, self._connections)
        await self._app(scope, receive, send)


class FaultyBody:
    """A request's body under one fault."""

    def __init__(self, active: ActiveFault, scope: Scope, receive: Receive, connections: Connections) -> None:
        self._active = active
        self._scope = scope
        self._receive = receive
        self._connections = connections
        self._read = 0
        self._stalled = False
        self._held: Message | None = None

    async def __call__(self) -> Message:
        """Return the next part of the body, or that the connection is gone."""
        fault = self._active.fault
        if fault.cut_after is not None and self._read >= fault.cut_after:
            return self._cut()
        if fault.stall is not None and not self._stalled and self._read >= fault.stall_after:
            self._stalled = True
            await self._active.pause(fault.stall)
        message = self._held or await self._receive()
        self._held = None
        if message["type"] != "http.request":
            return message
        message = self._corrupted(self._up_to(message))
        self._read += len(message.get("body", b""))
        return message

    def _cut(self) -> Message:
        self._connections.abort(self._scope)
        return _CUT

    def _corrupted(self, message: Message) -> Message:
        at, body = self._active.fault.corrupt, message.get("body", b"")
        if at is None or not self._read <= at < self._read + len(body):
            return message
        broken = bytearray(body)
        broken[at - self._read] ^= 1
        return {**message, "body": bytes(broken)}

    def _up_to(self, message: Message) -> Message:
        """Return the message up to the next byte at which something is to happen; the rest waits for the next call."""
        fault, body = self._active.fault, message.get("body", b"")
        stall_at = None if fault.stall is None or self._stalled else fault.stall_after
        marks = [mark for mark in (fault.cut_after, stall_at) if mark is not None and mark > self._read]
        room = min((mark - self._read for mark in marks), default=len(body))
        if room >= len(body):
            return message
        self._held = {**message, "body": body[room:]}
        return {**message, "body": body[:room], "more_body": True}


class FaultyAnswer:
    """An answer under one fault."""

    def __init__(self, active: ActiveFault, scope: Scope, send: Send, connections: Connections) -> None:
        self._fault = active.fault
        self._scope = scope
        self._send = send
        self._connections = connections
        self._sent = 0

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        if self._fault.lose_answer:
            self._connections.abort(self._scope)
            return
        limit, body = self._fault.cut_answer_after, message.get("body", b"")
        if limit is None or self._sent + len(body) < limit:
            self._sent += len(body)
            await self._send(message)
            return
        if message["type"] == "http.response.start":
            await self._send(message)
            return
        await self._send({**message, "body": body[: limit - self._sent], "more_body": True})
        self._connections.abort(self._scope)


def _response(answer: Answer) -> Response:
    headers = {"content-type": answer.content_type}
    if answer.retry_after is not None:
        headers["retry-after"] = str(answer.retry_after)
    return Response(answer.body, answer.status, headers)
