"""Counters: exchanges, and the bytes of bodies each way, of all and of each object."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.proxy.exchange import Exchange

# What else is said to a client is not the object.
_CONTENT = frozenset({200, 206})


class Tally:
    """The counters since the start or the last reset. Any thread may read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count from nothing again."""
        with self._lock:
            self._connections = 0
            self._asked: Counter[tuple[str, str]] = Counter()
            self._up: Counter[str] = Counter()
            self._down: Counter[str] = Counter()
            self._interrupted: Counter[str] = Counter()
            self._up_in_all = self._down_in_all = 0

    def connected(self) -> None:
        """Count a connection."""
        with self._lock:
            self._connections += 1

    def asked(self, exchange: Exchange) -> None:
        """Count a request that has come."""
        with self._lock:
            self._asked[exchange.method, exchange.path] += 1

    def sent(self, exchange: Exchange, count: int) -> None:
        """Count bytes of a request's body that go to the server."""
        with self._lock:
            self._up_in_all += count
            if exchange.target is not None:
                self._up[exchange.target] += count

    def received(self, exchange: Exchange, count: int) -> None:
        """Count bytes of an answer's body that go to the client."""
        with self._lock:
            self._down_in_all += count
            if exchange.target is not None and exchange.method == "GET" and exchange.status in _CONTENT:
                self._down[exchange.target] += count

    def interrupted(self, exchange: Exchange) -> None:
        """Count a request that a fault brings to another end."""
        with self._lock:
            if exchange.target is not None:
                self._interrupted[exchange.target] += 1

    def exchanges(self, method: str = "", path: str = "") -> int:
        """Return how many requests have come, by method (empty: any) and by a regular expression in the path."""
        with self._lock:
            return sum(
                count
                for (asked_method, asked_path), count in self._asked.items()
                if method in ("", asked_method) and re.search(path, asked_path)
            )

    def up(self, bucket: str, key: str) -> int:
        """Return the bytes that went to the server for an object, in uploads of both kinds."""
        with self._lock:
            return self._up[f"{bucket}/{key}"]

    def down(self, bucket: str, key: str) -> int:
        """Return the bytes of an object that went to the client."""
        with self._lock:
            return self._down[f"{bucket}/{key}"]

    def interruptions(self, bucket: str, key: str) -> int:
        """Return how many requests for an object faults have brought to another end."""
        with self._lock:
            return self._interrupted[f"{bucket}/{key}"]

    def shown(self) -> dict[str, object]:
        """Return all counters as JSON."""
        with self._lock:
            methods: Counter[str] = Counter()
            for (method, _), count in self._asked.items():
                methods[method] += count
            return {
                "connections": self._connections,
                "exchanges": dict(methods),
                "up": self._up_in_all,
                "down": self._down_in_all,
                "up_by_object": dict(self._up),
                "down_by_object": dict(self._down),
                "interrupted_by_object": dict(self._interrupted),
            }
