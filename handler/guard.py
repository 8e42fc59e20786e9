"""A listener of supervisord: ends the container when the handler has failed for good and no trainer lives.

An idle container is billed; one in which a training still runs is not idle.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor import childutils

from handler.trainer import live_trainers

if TYPE_CHECKING:
    from collections.abc import Callable

_HANDLER = "handler"


@dataclass(slots=True)
class Guard:
    """What is known of the handler. ``trains`` says whether a trainer lives, ``end`` ends the container."""

    trains: Callable[[], bool]
    end: Callable[[], None]
    handler_failed: bool = False

    def event(self, name: str, payload: dict[str, str]) -> None:
        """Take note of an event of supervisord's; ticks are for looking again."""
        if name == "PROCESS_STATE_FATAL" and payload.get("processname") == _HANDLER:
            self.handler_failed = True
        if self.handler_failed and not self.trains():
            self.end()


def main() -> None:
    """Listen until supervisord ends."""
    guard = Guard(trains=lambda: bool(live_trainers()), end=_end_container)
    while True:
        headers, payload = _wait()
        guard.event(headers["eventname"], childutils.get_headers(payload))
        childutils.listener.ok(sys.stdout)


def _wait() -> tuple[dict[str, str], str]:
    event: tuple[dict[str, Any], str] = childutils.listener.wait(sys.stdin, sys.stdout)
    return event


def _end_container() -> None:
    print("ferry: the handler cannot be started and nothing trains; the container ends.", file=sys.stderr, flush=True)
    os.kill(os.getppid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
