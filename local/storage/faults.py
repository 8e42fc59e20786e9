"""Faults: what a test wants to go wrong, chosen while the server runs."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from concurrent.futures import Future

from pydantic import BaseModel, ConfigDict, Field, field_validator

BAD_GATEWAY = (
    "<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<h1>502 Bad Gateway</h1>\n</body>\n</html>\n"
)
"""What a proxy says while the server behind it is down."""


class Answer(BaseModel):
    """An answer that the server gives instead of its own. ``retry_after`` is in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: int = Field(ge=200, le=599)
    body: str = ""
    content_type: str = "application/json; charset=utf-8"
    retry_after: int | None = None


class Fault(BaseModel):
    """Which requests go wrong, and how. All that is named happens, in the order in which it stands here.

    A request matches by ``method`` (empty: any) and by ``path``, a regular expression that is searched in the whole
    path. Of the matching requests the first ``skip`` are let through, then at most ``count`` are hit, each with
    ``probability`` (drawn from ``seed``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str = ""
    path: str = ""
    skip: int = Field(default=0, ge=0)
    count: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    seed: int = 0

    latency: float = Field(default=0.0, ge=0.0)
    """Seconds before anything else happens; clearing the fault ends them."""
    reset: bool = False
    """Cut the connection before the request is looked at."""
    answer: Answer | None = None
    """Answer this, and do nothing."""
    corrupt: int | None = Field(default=None, ge=0)
    """Flip a bit of the body's byte of this index before it is stored."""
    stall: float | None = Field(default=None, ge=0.0)
    """Stop reading the body for so many seconds, or until the fault is cleared."""
    stall_after: int = Field(default=0, ge=0)
    """How many bytes of the body to read before stalling."""
    cut_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the body have been read. A resumable upload keeps them."""
    cut_answer_after: int | None = Field(default=None, ge=0)
    """Cut the connection when so many bytes of the answer's body have been sent."""
    skip_commit: bool = False
    """Take a resumable upload's last byte and make no object of it, until an empty PATCH comes."""
    lose_answer: bool = False
    """Do what was asked, and cut the connection instead of answering."""

    @field_validator("path")
    @classmethod
    def _compiles(cls, path: str) -> str:
        try:
            re.compile(path)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return path


class ActiveFault:
    """A fault that is switched on, and what has come of it."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.matched = 0
        self.hits = 0
        self.cleared: Future[None] = Future()
        self._chance = random.Random(fault.seed)  # noqa: S311 - a repeatable sequence, no secret

    def hit(self, method: str, path: str) -> bool:
        """Count a request and return whether it is to go wrong."""
        fault = self.fault
        if fault.method not in ("", method) or not re.search(fault.path, path):
            return False
        self.matched += 1
        if self.matched <= fault.skip or (fault.count is not None and self.hits >= fault.count):
            return False
        if self._chance.random() >= fault.probability:
            return False
        self.hits += 1
        return True

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the fault is cleared."""
        await asyncio.wait({asyncio.wrap_future(self.cleared)}, timeout=seconds)

    def shown(self) -> dict[str, object]:
        """Return the fault and its counts as JSON."""
        counts = {"id": self.number, "matched": self.matched, "hits": self.hits}
        return counts | self.fault.model_dump(exclude_defaults=True)


class Faults:
    """The faults that are switched on. Any thread may switch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[int, ActiveFault] = {}
        self._next = 1

    def add(self, fault: Fault) -> int:
        """Switch a fault on and return its number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._active[number] = ActiveFault(number, fault)
            return number

    def down(self) -> int:
        """Answer everything as a proxy does whose server is down, and return the fault's number."""
        return self.add(Fault(answer=Answer(status=502, body=BAD_GATEWAY, content_type="text/html")))

    def clear(self, number: int | None = None) -> None:
        """Switch one fault off, or all; requests that it holds up go on."""
        with self._lock:
            numbers = list(self._active) if number is None else [number]
            gone = [self._active.pop(number) for number in numbers if number in self._active]
        for active in gone:
            active.cleared.set_result(None)

    def hitting(self, method: str, path: str) -> list[ActiveFault]:
        """Return the faults that hit this request, the oldest first."""
        with self._lock:
            return [active for active in self._active.values() if active.hit(method, path)]

    def hits(self, number: int) -> int:
        """Return how often a fault that is switched on has hit."""
        with self._lock:
            return self._active[number].hits

    def shown(self) -> list[dict[str, object]]:
        """Return all faults as JSON."""
        with self._lock:
            return [active.shown() for active in self._active.values()]
