"""A listener of supervisord: ends the container when the handler has failed for good and no trainer lives.

An idle container is billed; one in which a training still runs is not idle.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xmlrpc.client import Fault

from supervisor import childutils

from handler.trainer import live_trainers

if TYPE_CHECKING:
    from collections.abc import Callable
    from xmlrpc.client import ServerProxy


@dataclass(frozen=True, slots=True)
class Guard:
    """``state`` is the handler's, as supervisord calls it, ``trains`` whether a trainer lives; ``end`` ends all.

    All is asked anew each time: the guard may have been killed since the handler failed, and somebody may have started
    the handler again.
    """

    state: Callable[[], str]
    trains: Callable[[], bool]
    end: Callable[[], None]

    def look(self) -> None:
        """End the container if it is idle for good."""
        if self.state() == "FATAL" and not self.trains():
            self.end()


def main() -> None:
    """Listen until supervisord ends."""
    supervisor = childutils.getRPCInterface(os.environ).supervisor
    guard = Guard(
        state=lambda: _state(supervisor),
        trains=lambda: bool(live_trainers()),
        end=_end_container,
    )
    while True:
        childutils.listener.wait(sys.stdin, sys.stdout)
        guard.look()
        childutils.listener.ok(sys.stdout)


def _state(supervisor: ServerProxy) -> str:
    try:
        info: Any = supervisor.getProcessInfo("handler")
    except (Fault, OSError):
        return ""  # It is being shut down; the next look tells.
    return str(info["statename"])


def _end_container() -> None:
    print("ferry: the handler cannot be started and nothing trains; the container ends.", file=sys.stderr, flush=True)
    os.kill(os.getppid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
