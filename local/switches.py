"""Faults that are switched on and off while a server runs: which requests each is for, and how often it has hit."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from concurrent.futures import Future
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Choice(BaseModel):
    """Which requests a fault is for.

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

    @field_validator("path")
    @classmethod
    def _compiles(cls, path: str) -> str:
        try:
            re.compile(path)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return path


F = TypeVar("F", bound=Choice)


class Active(Generic[F]):
    """A fault that is switched on, and what has come of it."""

    def __init__(self, number: int, fault: F) -> None:
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


class Switches(Generic[F]):
    """The faults that are switched on. Any thread may switch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[int, Active[F]] = {}
        self._next = 1

    def add(self, fault: F) -> int:
        """Switch a fault on and return its number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._active[number] = Active(number, fault)
            return number

    def clear(self, number: int | None = None) -> None:
        """Switch one fault off, or all; requests that it holds up go on."""
        with self._lock:
            numbers = list(self._active) if number is None else [number]
            gone = [self._active.pop(number) for number in numbers if number in self._active]
        for active in gone:
            active.cleared.set_result(None)

    def hitting(self, method: str, path: str) -> list[Active[F]]:
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
