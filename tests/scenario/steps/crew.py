"""Uploaders of one root, one after the other: the first meets a blow, the others none; each that ends has an heir."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.scenario.steps.nursery import Launch, Nursery
    from tests.scenario.steps.tracer import Followed


@dataclass(slots=True)
class Crew:
    """The uploaders. ``first`` is what became of the one that met the blow, once it has ended."""

    nursery: Nursery
    launch: Launch
    pid: int = 0
    starts: int = 0
    first: Followed | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def interruptions(self) -> int:
        """Return how often an uploader has been interrupted at most, by its end or by an error."""
        blow = self.launch.blow
        return self.starts - 1 + (1 if blow is not None and blow.error is not None else 0)

    @property
    def has_stumbled(self) -> bool:
        """Return whether an uploader has ended, or has told that it began a run again."""
        return self.starts > 1 or b"run_interrupted" in self.launch.printed.read_bytes()

    def start(self) -> None:
        """Start the next uploader."""
        launch = self.launch if self.starts == 0 else replace(self.launch, follow=False, blow=None)
        with self._lock:
            self.pid = self.nursery.start(launch)
            self.starts += 1

    def attend(self, seconds: float) -> None:
        """Wait so long, or until the uploader ends; then start another, as supervisord does."""
        if self._ended(seconds):
            self.start()

    def dismiss(self, seconds: float) -> None:
        """Kill the last one."""
        self.strike()
        assert self._ended(seconds), "a killed uploader does not end"

    def strike(self) -> None:
        """Kill the uploader. Any thread may do so, and it may have ended already."""
        with self._lock, suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, seconds: float) -> bool:
        followed = self.nursery.ended(seconds)
        if followed is not None and self.starts == 1:
            self.first = followed
        return followed is not None
