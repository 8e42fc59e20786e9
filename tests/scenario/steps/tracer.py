"""Follows a process through its durable steps, all threads counted together, and makes one of them go wrong.

strace's own fault injection counts for each thread by itself, which skips most steps of a program with threads.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.scenario.steps import ptrace
from tests.scenario.steps.calls import CALLS, label, target
from tests.scenario.steps.seccomp import stop_at_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Blow:
    """What happens instead of the step of number ``at`` (from 1): SIGKILL, or the failure ``error`` (an errno)."""

    at: int
    error: int | None = None


@dataclass(slots=True)
class Followed:
    """What became of a process: the steps it took, which one was struck, and how it ended (as waitpid says)."""

    steps: list[str] = field(default_factory=list)
    struck: str | None = None
    status: int = 0


def traced(program: Callable[[], None]) -> None:
    """Run ``program`` in this process, which has just been forked, as one that its parent follows."""
    ptrace.ask_to_be_traced()
    stop_at_calls()
    program()


def follow(pid: int, root: Path, blow: Blow | None) -> Followed:
    """Follow the child ``pid`` from its first stop to its end; steps are what changes files below ``root``.

    Raises OSError where the kernel allows no tracing.
    """
    found = Followed()
    os.waitpid(pid, 0)
    ptrace.follow(pid)
    ptrace.go_on(pid)
    while True:
        try:
            thread, status = os.waitpid(-1, ptrace.WALL)
        except ChildProcessError:
            return found
        if not os.WIFSTOPPED(status):
            found.status = status if thread == pid else found.status
            continue
        try:
            _stopped(pid, thread, status, root, blow, found)
        except ProcessLookupError:
            # A kill takes threads away that stand still.
            continue


def _stopped(pid: int, thread: int, status: int, root: Path, blow: Blow | None, found: Followed) -> None:
    if ptrace.is_at_call(status):
        step = _step(thread, root)
        if step is not None:
            found.steps.append(step)
            if blow is not None and len(found.steps) == blow.at:
                found.struck = step
                _strike(pid, thread, blow)
    ptrace.go_on(thread, 0 if ptrace.is_event(status) else os.WSTOPSIG(status))


def _step(thread: int, root: Path) -> str | None:
    """Return the label of the call that a thread is about to make, or None when it is about something else."""
    values = ptrace.registers(thread)
    call = CALLS[values.number]
    path = target(thread, call, values.arguments)
    return label(call, path, root) if path.is_relative_to(root) else None


def _strike(pid: int, thread: int, blow: Blow) -> None:
    if blow.error is None:
        os.kill(pid, signal.SIGKILL)
    else:
        ptrace.refuse(thread, ptrace.registers(thread), blow.error)
