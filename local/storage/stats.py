"""Counters: what was asked, how many bytes went which way, and how many bodies' bytes each object cost."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from local.storage.exchange import exchange_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local.storage.connections import Connections
    from local.storage.exchange import Exchange

_PREFIX = "/storage/v1/"
_OBJECT_ROUTES = ("list", "list-v2", "info", "sign", "copy", "move", "authenticated", "public", "upload")


def route_class(path: str) -> str:
    """Return what kind of route a path is: ``bucket``, ``object``, ``object/info``, ``upload/resumable`` and so on."""
    if not path.startswith(_PREFIX):
        return "other"
    parts = path.removeprefix(_PREFIX).split("/")
    if parts[:2] == ["upload", "resumable"]:
        return "upload/resumable"
    if parts[0] == "object":
        return f"object/{parts[1]}" if len(parts) > 1 and parts[1] in _OBJECT_ROUTES else "object"
    return parts[0] if parts[0] == "bucket" else "other"


class Stats:
    """The counters since the start or the last reset. Any thread may read them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._lock = threading.Lock()
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Count from nothing again, but for the requests that are under way."""
        with self._lock:
            self._requests: Counter[str] = Counter()
            self._received: Counter[str] = Counter()
            self._sent: Counter[str] = Counter()
            self._targets: Counter[str] = Counter()
            self._most_in_flight = self._in_flight
        self._connections.reset_peak()

    def begin(self, method: str, route: str) -> None:
        """Count a request that has arrived."""
        self._connections.sample()
        with self._lock:
            self._requests[f"{method} {route}"] += 1
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def end(self, route: str, exchange: Exchange) -> None:
        """Count the bytes of a request that has been answered, or whose connection is gone."""
        with self._lock:
            self._in_flight -= 1
            self._received[route] += exchange.received
            self._sent[route] += exchange.sent
            if exchange.target is not None:
                self._targets[exchange.target] += exchange.received

    def requests(self, method: str, route: str) -> int:
        """Return how many requests of that method and route class have arrived."""
        with self._lock:
            return self._requests[f"{method} {route}"]

    def received_for(self, bucket: str, key: str) -> int:
        """Return how many bytes of bodies have arrived for an object, in uploads of all kinds."""
        with self._lock:
            return self._targets[f"{bucket}/{key}"]

    def shown(self) -> dict[str, object]:
        """Return all counters as JSON."""
        with self._lock:
            return {
                "requests": dict(self._requests),
                "received": dict(self._received),
                "sent": dict(self._sent),
                "received_by_object": dict(self._targets),
                "in_flight": self._in_flight,
                "most_in_flight": self._most_in_flight,
                "connections": self._connections.open,
                "most_connections": self._connections.peak,
            }


class Counting:
    """The app, with its requests counted."""

    def __init__(self, app: ASGIApp, stats: Stats) -> None:
        self._app = app
        self._stats = stats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        exchange, route = exchange_of(scope), route_class(scope["path"])

        async def counted_receive() -> Message:
            message = await receive()
            exchange.received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            exchange.sent += len(message.get("body", b""))
            await send(message)

        self._stats.begin(scope["method"], route)
        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            self._stats.end(route, exchange)
