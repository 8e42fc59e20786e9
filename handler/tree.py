"""All processes of one session: the launcher, the trainer, its children, and those that lost their parents.

A member is who carries the session's marker in its environment, who descends from a member, or who is in a member's
kernel session. So data-loader workers are found that outlive a killed trainer, and children with an environment of
their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from handler.trainer import LAUNCHER, marker, reap_launchers
from shared.clock import Clock, Deadline, SystemClock
from shared.contract.document import Record
from shared.contract.process import ProcessIdentity, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

# ai-toolkit leaves about two seconds after SIGINT.
POLITE_SECONDS = 5.0
KILL_SECONDS = 10.0
# When the worker itself is about to be killed: both, and the kill's once more, are HURRIED_SECONDS.
HURRIED_POLITE_SECONDS = 2.5
HURRIED_KILL_SECONDS = 0.25
# What SIGKILL has not ended by then is given its time once more, and a second at most.
_LAST_SECONDS = 1.0
_LOOK_SECONDS = 0.05


class Usage(Record):
    """What the tree takes: CPU seconds so far, cores in use since the last look, resident bytes, processes.

    Memory that processes share counts for each of them.
    """

    cpu_seconds: float = 0.0
    cores: float = 0.0
    memory: int = 0
    processes: int = 0


class Tree:
    """The processes of the session at ``folder`` below ``root``, which is its launcher, or the trainer without one."""

    def __init__(self, folder: Path, root: ProcessIdentity, clock: Clock | None = None) -> None:
        self._root = root
        process = find(root)
        # The volume may have been mounted elsewhere when the trainer started.
        self._folder = (marker(process) if process else None) or str(folder)
        self._clock = clock or SystemClock()
        self._known: set[psutil.Process] = set()
        self._marked: dict[psutil.Process, bool] = {}
        self._trainer: psutil.Process | None = None
        self._cpu: dict[psutil.Process, float] = {}
        self._spent = 0.0
        self._looked = self._clock.monotonic()

    def alive(self) -> bool:
        """Return whether the launcher or the trainer itself lives. Cheap: it looks at these two alone."""
        if self._trainer is None:
            self.members()
        return find(self._root) is not None or (self._trainer is not None and _lives(self._trainer))

    def members(self) -> list[psutil.Process]:
        """Return all living members, oldest first. This looks at every process of the machine."""
        everybody = set(psutil.process_iter())
        self._known = {process for process in self._known if _lives(process)}
        root = find(self._root)
        if root is not None:
            self._known.add(root)
            self._known.update(_descendants(root))
        self._known.update(process for process in everybody if self._is_marked(process) and _lives(process))
        sessions = {_session(process) for process in self._known} - {_session_of_this_process(), None}
        self._known.update(process for process in everybody if _session(process) in sessions and _lives(process))
        self._known.discard(psutil.Process())
        members = sorted(self._known, key=_created)
        if self._trainer is None:
            self._trainer = next((process for process in members if not _is_launcher(process)), None)
        self._marked = {process: marked for process, marked in self._marked.items() if process in everybody}
        return members

    def usage(self) -> Usage:
        """Return what the tree takes now; call it every few seconds."""
        members = self.members()
        before, self._cpu = self._cpu, {process: _cpu_seconds(process) for process in members}
        # Member by member, because the sum falls when one of them ends.
        spent = sum(max(0.0, seconds - before.get(process, 0.0)) for process, seconds in self._cpu.items())
        now = self._clock.monotonic()
        passed, self._looked = now - self._looked, now
        self._spent += spent
        return Usage(
            cpu_seconds=self._spent,
            cores=spent / passed if before and passed > 0 else 0.0,
            memory=sum(_resident_bytes(process) for process in members),
            processes=len(members),
        )

    async def end(self, polite_seconds: float = POLITE_SECONDS, kill_seconds: float = KILL_SECONDS) -> bool:
        """End all members, first with SIGINT and then with SIGKILL; return whether all of them are gone.

        SIGINT because ai-toolkit answers it: files and the loss database are closed and workers leave. SIGTERM would
        end it at once and leave them behind. The launcher is let alone as long as it can, because it has yet to write
        how the trainer ended.
        """
        _send(signal.SIGINT, self._trainers())
        await self._until(lambda: not (self._trainer and _lives(self._trainer)), polite_seconds)
        if not await self._until(self._killed, kill_seconds):
            _send(signal.SIGKILL, self.members())
        reap_launchers()
        return await self._until(lambda: not self.members(), min(_LAST_SECONDS, kill_seconds))

    def _killed(self) -> bool:
        """Kill all but the launcher, a trainer that it starts just now included; return whether all are gone."""
        trainers = self._trainers()
        _send(signal.SIGKILL, trainers)
        return not trainers and find(self._root) is None

    def _trainers(self) -> list[psutil.Process]:
        members = self.members()
        return [process for process in members if not _is_launcher(process)]

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = Deadline(self._clock, seconds)
        while not condition():
            if deadline.passed():
                return False
            await asyncio.sleep(_LOOK_SECONDS)
        return True

    def _is_marked(self, process: psutil.Process) -> bool:
        if process not in self._marked:
            self._marked[process] = marker(process) == self._folder
        return self._marked[process]


def _send(number: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):  # Gone already; psutil makes sure that the pid is not another's by now.
            process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_launcher(process: psutil.Process) -> bool:
    try:
        return LAUNCHER in process.cmdline()
    except psutil.Error:
        return False


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [process for process in root.children(recursive=True) if _lives(process)]
    except psutil.Error:
        return []


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _session_of_this_process() -> int:
    return os.getsid(0)


def _created(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return float("inf")


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
