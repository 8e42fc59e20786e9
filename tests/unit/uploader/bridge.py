"""A daemon on the bench, whose ticks a test counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.unit.uploader.harbour import WORKER
from uploader.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.uploader.harbour import Harbour
    from uploader.run import Watch


class Bridge:
    """One uploader process that carries everything below the harbour's root."""

    def __init__(self, harbour: Harbour, *watches: Watch, hurry: bool = False, worker: str = WORKER) -> None:
        self.harbour = harbour
        self.wake = threading.Event()
        self.world = harbour.world(hurry=hurry, worker=worker)
        self.daemon = Daemon(self.world, harbour.root, watches, self.wake)

    def tick(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.daemon.tick()
            self.harbour.check_manifest()
            self.harbour.clock.advance(seconds)

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(400):
            if condition():
                return
            self.tick()
        raise AssertionError("not within 400 ticks")

    def die(self) -> None:
        """Let go of the ledgers' locks and of open files, as a killed process does; nothing is finished."""
        for carrier in self.daemon.carriers:
            if carrier.hold is not None:
                carrier.hold.ledger.close()
            carrier._grips.close()
