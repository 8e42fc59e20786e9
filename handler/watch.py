"""Watches a training until its whole tree is gone, or ends it: when asked to, when it is late, stalled, or silent.

A trainer that was just started and one that an earlier handler left behind are watched alike: neither has to be a child
of this process.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.cgroup import oom_kills
from handler.eventually import eventually
from handler.gpu import Gpu, GpuMeter
from handler.stop import Stop, StopRequest
from handler.tree import (
    HURRIED_KILL_SECONDS,
    HURRIED_POLITE_SECONDS,
    KILL_SECONDS,
    POLITE_SECONDS,
    Tree,
    Usage,
)
from handler.undisturbed import undisturbed
from handler.watchdog import Watchdog
from shared.clock import Clock, SystemClock
from shared.contract.trainer_exit import TrainerExit
from shared.log import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from handler.follow import Follower
    from handler.progress import State
    from shared.contract.process import ProcessIdentity
    from shared.layout import SessionFolder
    from shared.settings import HandlerSettings

__all__ = ["Report", "Stop", "StopRequest", "Watched", "watch"]

LOOK_SECONDS = 0.25
# Looking at all processes, and still more nvidia-smi, costs CPU time that the training wants.
USAGE_SECONDS = 10.0
GPU_SECONDS = 30.0
# Below so many cores a tree does nothing but wake up now and then.
IDLE_CORES = 0.01

_log = EventLog("handler")


@dataclass(frozen=True, slots=True)
class Report:
    """How a training stands: what its output told, what its processes take, and the GPUs."""

    state: State
    usage: Usage
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """What there is to judge an ending by. ``exit_code``: None where the launcher could not tell.

    ``oom_kills``: processes that the kernel killed for memory meanwhile, None where it does not tell. ``clean``: no
    process is left.
    """

    stopped: Stop | None
    exit_code: int | None
    state: State
    tail: tuple[str, ...]
    oom_kills: int | None
    clean: bool


async def watch(
    session: SessionFolder,
    root: ProcessIdentity,
    follower: Follower,
    settings: HandlerSettings,
    stop: StopRequest,
    report: Callable[[Report], None],
    *,
    clock: Clock | None = None,
    meter: GpuMeter | None = None,
) -> Watched:
    """Watch the training of ``session`` below ``root`` to its end; afterwards none of its processes is left.

    ``report`` is called after each look that found something new, every quarter of a second at most, and with fresh
    usage every few seconds; what it raises ends the training, unless it is the disk's trouble. A cancellation of this
    call ends the training too and is then raised again.
    """
    watcher = _Watcher(session, root, follower, settings, report, clock or SystemClock(), meter or GpuMeter())
    # Of a trainer that was gone before anybody looked, nothing is known here.
    killed_before = None if _is_there(session.trainer_exit) else oom_kills()
    try:
        stopped = await watcher.until_end(stop)
    finally:
        clean = await undisturbed(watcher.end(hurried=stop.reason is Stop.INTERRUPTED))
    exit_code = await _exit_code(session, watcher.clock)
    killed = oom_kills()
    return Watched(
        stopped=stopped,
        exit_code=exit_code,
        state=follower.state,
        tail=follower.tail,
        oom_kills=None if killed is None or killed_before is None else killed - killed_before,
        clean=clean,
    )


def _is_there(exit_file: Path) -> bool:
    # Where the volume does not answer, the processes tell all the same.
    return os.path.exists(exit_file)  # noqa: PTH110 - Path.exists raises what the volume says


async def _exit_code(session: SessionFolder, clock: Clock) -> int | None:
    """Return what the launcher noted; None where it could not, or the volume does not give it back."""
    try:
        exited = await eventually(lambda: TrainerExit.read(session.trainer_exit), clock=clock)
    except OSError as error:
        _log.error("exit_unreadable", session=session.session_id, reason=error)
        return None
    return None if exited is None else exited.code


class _Watcher:
    def __init__(
        self,
        session: SessionFolder,
        root: ProcessIdentity,
        follower: Follower,
        settings: HandlerSettings,
        report: Callable[[Report], None],
        clock: Clock,
        meter: GpuMeter,
    ) -> None:
        self._session_id = session.session_id
        self._exit_file = session.trainer_exit
        self._follower = follower
        self._settings = settings
        self._report = report
        self.clock = clock
        self._meter = meter
        self._tree = Tree(session.path, root, clock)
        self._usage = Usage()
        now = clock.monotonic()
        self._watchdog = Watchdog(
            # The only use of wall clocks: what passed before this handler took over.
            started=now - max(0.0, clock.now() - root.created),
            now=now,
            stall=settings.stall_seconds,
            longest=settings.max_seconds,
        )
        self._usage_due = self._gpu_due = now
        self._in_trouble = False

    async def until_end(self, stop: StopRequest) -> Stop | None:
        """Look again and again until the trainer has ended, or until there is a reason to end it."""
        while not _is_there(self._exit_file) and self._look():
            reason = stop.reason or self._watchdog.overdue()
            if reason is not None:
                _log.info("ending_trainer", session=self._session_id, reason=reason)
                return reason
            await stop.wait(LOOK_SECONDS)
        return None

    async def end(self, *, hurried: bool) -> bool:
        """End what is left of the tree, read the rest of the output, and return whether no process is left.

        ``hurried``: the worker itself is about to be killed.
        """
        polite, kill = (HURRIED_POLITE_SECONDS, HURRIED_KILL_SECONDS) if hurried else (POLITE_SECONDS, KILL_SECONDS)
        # Who outlived the trainer needs no politeness.
        clean = await self._tree.end(0 if _is_there(self._exit_file) else polite, kill)
        if not clean:
            pids = [process.pid for process in self._tree.members()]
            _log.error("processes_left", session=self._session_id, pids=pids)
        await self._meter.close()
        for _ in iter(self._follower.read, False):
            await asyncio.sleep(0)  # A long rest must not keep the event loop from its other work.
        self._follower.finish()
        self._tell()
        return clean

    def _look(self) -> bool:
        """Look, and return whether the trainer lives. Who is heard does: the processes are looked at now and then."""
        heard = self._follower.read()
        now = self.clock.monotonic()
        measured = now >= self._usage_due
        if (measured or not heard) and not self._tree.alive():
            return False
        active = measured and self._measure(now)
        self._watchdog.look(now, heard=heard, active=active)
        if heard or measured:
            self._tell()
        return True

    def _measure(self, now: float) -> bool:
        """Look at processes and GPUs; return whether they are in use."""
        # A limit of a few seconds is watched with looks that are shorter than it.
        shortest = self._settings.stall_seconds / 4
        self._usage_due = now + min(USAGE_SECONDS, shortest)
        self._usage = self._tree.usage()
        if now >= self._gpu_due:
            self._gpu_due = now + min(GPU_SECONDS, shortest)
            self._meter.refresh()
        return self._usage.cores > IDLE_CORES or self._meter.busy()

    def _tell(self) -> None:
        try:
            self._report(Report(self._follower.state, self._usage, self._meter.gpus))
        except OSError as error:
            if not self._in_trouble:
                _log.warning("report_failed", session=self._session_id, reason=error)
            self._in_trouble = True
        else:
            self._in_trouble = False
